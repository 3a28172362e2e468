"""What builders share: rows written to disk by several workers, photo backgrounds, stickers with exact boxes.

A sticker is an RGBA picture trimmed to what can be seen of it, so that pasting one gives its box without guessing.
Boxes are whole pixels (x1, y1, x2, y2) of the finished picture; x2 and y2 lie just past the last pixel.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import cos, pi, sin
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageDraw

from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine, map_ordered

PixelBox = tuple[int, int, int, int]
Save = Callable[[Image.Image], str]
"""Writes a picture of the row being made and returns its file name as the row must give it."""
MakeRow = Callable[[int, Save], dict[str, Any]]

CHUNK = 64
"""Rows that a worker makes at a time."""
VISIBLE = 64
"""Alpha from which a pixel of a sticker belongs to its box."""
MAX_OVERLAP = 0.1
"""Largest share of the smaller of two boxes that the other may cover."""
COLORS = {
    "red": (214, 32, 32),
    "orange": (245, 136, 20),
    "yellow": (250, 220, 30),
    "green": (30, 150, 50),
    "blue": (30, 80, 220),
    "purple": (130, 40, 160),
    "pink": (250, 130, 190),
    "white": (252, 252, 252),
}
SHAPES = ("circle", "cross", "heart", "square", "star", "triangle")


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a builder wrote: rows in ``<name>.jsonl``, and the seconds it took."""

    name: str
    rows: int
    seconds: float


class Build(Protocol):
    """How every builder of the miniature's data is called; the bytes do not depend on ``workers``."""

    def __call__(
        self, out: Path, split: Split, n: int, seed: int, materials: Materials, *, workers: int = ...
    ) -> BuildReport | list[BuildReport]: ...


def build_rows(out: Path, name: str, n: int, make: MakeRow, engine: Engine) -> BuildReport:
    """Write ``<out>/<name>.jsonl`` and ``<out>/images/<name>/NNNNNN[-k].png``; the bytes do not depend on ``engine``.

    Args:
        make: ``(i, save) -> row``; must depend on i only and, where processes are not forked, be picklable.
    """
    start = time.perf_counter()
    (out / "images" / name).mkdir(parents=True, exist_ok=True)
    chunks = [range(first, min(first + CHUNK, n)) for first in range(0, n, CHUNK)]
    work = partial(_lines, out, name, make)
    with (out / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
        if engine.here or len(chunks) <= 1:
            lines.writelines(map(work, chunks))
        else:
            # A forked worker inherits the materials that are already read.
            told = f"{name}, rows {{0.start}} to {{0.stop}}".format
            lines.writelines(map_ordered(work, chunks, engine, told, fork=True))
    return BuildReport(name, n, time.perf_counter() - start)


def _lines(out: Path, name: str, make: MakeRow, indices: Iterable[int]) -> str:
    lines = []
    for index in indices:
        saved: list[str] = []

        def save(picture: Image.Image, index: int = index, saved: list[str] = saved) -> str:
            suffix = f"-{len(saved)}" if saved else ""
            saved.append(f"images/{name}/{index:06d}{suffix}.png")
            picture.save(out / saved[-1], compress_level=1)
            return saved[-1]

        lines.append(json.dumps(make(index, save)) + "\n")
    return "".join(lines)


def llava_row(
    key: str, task: str, images: str | list[str], pictures: Sequence[Image.Image], turns: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """A LLaVA conversation about pictures: all of them first, then the questions and answers in turn.

    Args:
        images: a file name, or a list of them; ``width`` and ``height`` of the row are numbers or lists likewise.
        turns: (question, answer); a lone empty question makes a caption row.
    """
    single = isinstance(images, str)
    widths, heights = [picture.width for picture in pictures], [picture.height for picture in pictures]
    marks = "<image>" * len(pictures)
    conversations = []
    for number, (question, answer) in enumerate(turns):
        asked = question if number else f"{marks}\n{question}".rstrip("\n")
        conversations += [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return {
        "id": key,
        "image": images,
        "width": widths[0] if single else widths,
        "height": heights[0] if single else heights,
        "conversations": conversations,
        "task": task,
    }


def random_size(rng: random.Random, low: int, high: int) -> tuple[int, int]:
    """(width, height): longer side low..high px, the shorter 0.85 to 0.97 of it, either way round; never a square."""
    longer = rng.randint(low, high)
    shorter = round(longer * rng.uniform(0.85, 0.97))
    return (longer, shorter) if rng.random() < 0.5 else (shorter, longer)


def photo_crop(photos: Sequence[Image.Image], width: int, height: int, rng: random.Random) -> Image.Image:
    """A random part of a random photograph, at least half of what fits, sometimes mirrored: RGB, width x height px."""
    photo = rng.choice(photos)
    fit = min(photo.width / width, photo.height / height) * rng.uniform(0.5, 1.0)
    left, top = rng.uniform(0, photo.width - fit * width), rng.uniform(0, photo.height - fit * height)
    box = (left, top, left + fit * width, top + fit * height)
    crop = photo.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to paste. ``color`` is set for shapes only; ``label`` is what texts call it."""

    name: str
    sticker: Image.Image
    color: str = ""

    @property
    def label(self) -> str:
        return f"{self.color} {self.name}" if self.color else self.name

    @property
    def phrase(self) -> str:
        return with_article(self.label)


@dataclass(frozen=True, slots=True)
class Placed:
    """A thing and the box its sticker covers."""

    thing: Thing
    box: PixelBox

    @property
    def center(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def entry(self) -> dict[str, Any]:
        """``{"name", "box"}`` of the row's ``objects``, plus ``"color"`` for a shape."""
        color = {"color": self.thing.color} if self.thing.color else {}
        return {"name": self.thing.name, "box": list(self.box), **color}


def with_article(label: str) -> str:
    """'a dog', 'an apple'."""
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def named_thing(
    materials: Materials, name: str, split: Split, rng: random.Random, sides: tuple[int, int] = (16, 30)
) -> Thing:
    """One drawing of a named object, longest side within ``sides`` px; see ``cut_out``."""
    drawing = rng.randrange(len(materials.pictures(name, split)))
    return Thing(name, cut_out(materials, name, split, drawing, rng.randint(*sides), rng))


def cut_out(
    materials: Materials, name: str, split: Split, drawing: int, side: int, rng: random.Random, varied: bool = False
) -> Image.Image:
    """A named picture as a sticker with longest side about ``side`` px, sometimes mirrored.

    There are few drawings of a name to learn from: in training, and if ``varied``, they are stretched, turned and
    tinted a little.
    """
    picture = materials.pictures(name, split)[drawing]
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    width, height = picture.size
    if varied or split == "train":
        width, height = width * rng.uniform(0.85, 1.18), height * rng.uniform(0.85, 1.18)
        gains = [rng.uniform(0.7, 1.3) for _ in "RGB"]
        table = [min(255, round(gain * value)) for gain in gains for value in range(256)] + list(range(256))
        picture = picture.point(table).rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return trimmed(picture.resize(size, Image.Resampling.BILINEAR))


def trimmed(sticker: Image.Image) -> Image.Image:
    """An RGBA picture cut to the pixels whose alpha is at least ``VISIBLE``.

    Raises:
        ValueError: nothing can be seen.
    """
    box = visible_box(sticker)
    if box is None:
        raise ValueError("a sticker with no visible pixel")
    return sticker.crop(box)


def visible_box(sticker: Image.Image) -> PixelBox | None:
    """Box of the pixels whose alpha is at least ``VISIBLE``; None if there are none."""
    return sticker.getchannel("A").point([0] * VISIBLE + [255] * (256 - VISIBLE)).getbbox()


def shape_thing(shape: str, color: str, side: int) -> Thing:
    """A coloured shape with a thin dark edge, which keeps white apart from snow and red from roses."""
    return Thing(shape, shape_sticker(shape, color, side), color)


@lru_cache(maxsize=4096)
def shape_sticker(shape: str, color: str, side: int) -> Image.Image:
    """A filled shape ``side`` px wide, drawn four times as large and scaled down. Cached: do not change it in place."""
    scale = 4
    picture = Image.new("RGBA", (side * scale, side * scale), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    outline = [(x * (side * scale - 1), y * (side * scale - 1)) for x, y in _outline(shape)]
    pen.polygon(outline, fill=COLORS[color])
    pen.line([*outline, outline[0], outline[1]], fill=(40, 40, 40), width=scale, joint="curve")
    return trimmed(picture.resize((side, side), Image.Resampling.BOX))


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape in the unit square, y down."""
    turns = [2 * pi * step / 48 for step in range(48)]
    if shape == "circle":
        return [(0.5 + cos(t) / 2, 0.5 + sin(t) / 2) for t in turns]
    if shape == "heart":
        # The usual heart curve: x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, about 32 x 29 units.
        height = [13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) for t in turns]
        return [(0.5 + sin(t) ** 3 / 2, (12 - y) / 29) for t, y in zip(turns, height, strict=True)]
    if shape == "star":
        radii = [0.5 if step % 2 == 0 else 0.2 for step in range(10)]
        return [(0.5 + r * sin(pi * k / 5), 0.5 - r * cos(pi * k / 5)) for k, r in enumerate(radii)]
    if shape == "cross":
        a, b = 0.33, 0.67
        return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "triangle":
        return [(0.5, 0), (1, 1), (0, 1)]
    raise ValueError(f"unknown shape '{shape}'; known: {', '.join(SHAPES)}")


def layout(things: Sequence[Thing], width: int, height: int, rng: random.Random) -> list[Placed] | None:
    """Random places for all things inside width x height px, hardly overlapping; None if none was found."""
    placed: list[Placed] = []
    for thing in things:
        w, h = thing.sticker.size
        if w > width or h > height:
            return None
        for _ in range(12):
            x, y = int(rng.random() * (width - w + 1)), int(rng.random() * (height - h + 1))
            box = (x, y, x + w, y + h)
            if all(overlap(box, other.box) <= MAX_OVERLAP for other in placed):
                placed.append(Placed(thing, box))
                break
        else:
            return None
    return sorted(placed, key=lambda item: item.center)


def overlap(a: PixelBox, b: PixelBox) -> float:
    """Area both boxes share, as a part of the smaller one."""
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def paste(background: Image.Image, placed: Iterable[Placed]) -> Image.Image:
    """A copy of the background with the stickers on it, later ones on top."""
    picture = background.copy()
    for item in placed:
        picture.paste(item.thing.sticker, item.box, item.thing.sticker)
    return picture


def listing(phrases: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
