"""Scenes of any size: cut-outs on a part of a photograph, nothing hidden, every box and mask exact; and what can be
said and asked of them.

Everything is a function of (stock, seed, key): scene k is the same in every data set that shows it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm15.build._cut_outs import Stock, photo_of, sticker_of
from mm15.build.canvas import VISIBLE, Placed, Thing, layout, overlap, paste, photo_crop, trimmed, with_article

QUALITY = 92
CLEAR = 0.12
"""Share of a side by which two things must lie apart before one is "left of" or "above" the other."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ODD_PLURALS = {
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "mouse": "mice",
    "goose": "geese",
    "tooth": "teeth",
    "foot": "feet",
    "child": "children",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "bread": "loaves of bread",
}
ODD_SINGULARS = {"bread": "a loaf of bread"}


@dataclass(frozen=True, slots=True)
class Composed:
    """Things on a background; ``placed`` from left to right."""

    background: Image.Image
    placed: tuple[Placed, ...]
    photo: str = ""
    """Name of the photograph: what it names is never called absent."""

    @property
    def size(self) -> tuple[int, int]:
        return self.background.size

    @property
    def counts(self) -> Counter[str]:
        """Name → how many."""
        return Counter(item.thing.name for item in self.placed)

    @property
    def single(self) -> list[Placed]:
        """Things whose name nothing else has."""
        counts = self.counts
        return [item for item in self.placed if counts[item.thing.name] == 1]

    def absent(self, names: Sequence[str]) -> list[str]:
        """The names that nothing here has."""
        said = set(re.split(r"[^a-z]+", self.photo.lower()))
        return [name for name in names if name not in self.counts and not said & set(name.lower().split())]

    def picture(self) -> Image.Image:
        return paste(self.background, self.placed)


def one_of(name: str) -> str:
    """'a dog', 'an apple', 'a loaf of bread'."""
    return ODD_SINGULARS.get(name, with_article(name))


def plural(name: str) -> str:
    """More than one of them."""
    head, _, last = name.rpartition(" ")
    if last in ODD_PLURALS:
        last = ODD_PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        last = f"{last[:-1]}ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def compose(stock: Stock, size: int, rng: random.Random, copies: bool = True) -> Composed:
    """One to five names, at times several things of one of them.

    Args:
        size: longest side of the picture in pixels.
        copies: whether a name may be there more than once.
    """
    width = size
    height = round(size * rng.uniform(0.62, 0.92))
    if rng.random() < 0.4:
        width, height = height, width
    photo = rng.choice(stock.photos)
    background = photo_crop([photo_of(photo)], width, height, rng)
    while True:
        names = rng.sample(stock.names, min(len(stock.names), rng.choice((1, 2, 2, 3, 3, 4, 5))))
        if copies and rng.random() < 0.5:
            names += names[:1] * rng.randint(1, 4)
        side = min(width, height) * min(0.5, 1.0 / len(names) ** 0.5)
        things = [make_thing(stock, name, round(side * rng.uniform(0.35, 0.85)), rng) for name in names]
        placed = layout(rng.sample(things, len(things)), width, height, rng)
        if placed and not any(overlap(a.box, b.box) for k, a in enumerate(placed) for b in placed[:k]):
            return Composed(background, tuple(placed), photo.stem)


def make_thing(stock: Stock, name: str, side: int, rng: random.Random) -> Thing:
    """One picture of a name, longest side about ``side`` px, at times mirrored, a little stretched and turned."""
    picture = sticker_of(rng.choice(stock.pictures[name]))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    wide, high = picture.width * rng.uniform(0.9, 1.1), picture.height * rng.uniform(0.9, 1.1)
    scale = max(side, 12) / max(wide, high)
    picture = picture.resize((max(4, round(wide * scale)), max(4, round(high * scale))), Image.Resampling.BICUBIC)
    return Thing(name, trimmed(picture.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)))


def save_picture(picture: Image.Image, out: Path, name: str) -> str:
    """Write a JPEG below ``out``; returns its name."""
    picture.save(out / name, quality=QUALITY, subsampling=0)
    return name


def mask_of(item: Placed, width: int, height: int) -> dict[str, Any]:
    """The thing's pixels as COCO's runs: down the columns, zeros first."""
    mask_HW = np.zeros((height, width), bool)
    x1, y1, x2, y2 = item.box
    mask_HW[y1:y2, x1:x2] = np.asarray(item.thing.sticker.getchannel("A")) >= VISIBLE
    flat = mask_HW.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.array([0, *edges.tolist(), flat.size])).tolist()
    return {"size": [height, width], "counts": [0, *runs] if flat[0] else runs}


def listed(scene: Composed) -> list[str]:
    """'a dog', 'two keys': every name with its number, from left to right."""
    counts = scene.counts
    return [one_of(name) if count == 1 else f"{NUMBERS[count]} {plural(name)}" for name, count in counts.items()]


def beside(scene: Composed, a: Placed, b: Placed) -> str:
    """'left of', 'right of', 'above' or 'below': where ``a`` clearly lies from ``b``; else empty."""
    (width, height), (ax, ay), (bx, by) = scene.size, a.center, b.center
    across, down = (bx - ax) / width, (by - ay) / height
    if max(abs(across), abs(down)) < CLEAR:
        return ""
    if abs(across) >= abs(down):
        return "to the left of" if across > 0 else "to the right of"
    return "above" if down > 0 else "below"


def expressions(scene: Composed) -> list[tuple[str, Placed]]:
    """Phrases that fit one thing only: by name, by place or size among its like, or by a neighbour."""
    found = [(f"the {item.thing.name}", item) for item in scene.single]
    for name, count in scene.counts.items():
        if count < 2:
            continue
        like = [item for item in scene.placed if item.thing.name == name]
        for axis, words in ((0, ("left", "right")), (1, ("top", "bottom"))):
            ordered = sorted(like, key=lambda item: item.center[axis])
            sides = ((words[0], ordered[0], ordered[1]), (words[1], ordered[-1], ordered[-2]))
            for word, item, next_to in sides:
                if abs(item.center[axis] - next_to.center[axis]) >= CLEAR * scene.size[axis]:
                    found.append((f"the {word}{'most' if count > 2 else ''} {name}".replace("topmost", "top"), item))
        areas = sorted(like, key=_area)
        if _area(areas[-1]) > 1.5 * _area(areas[-2]):
            found.append((f"the {'largest' if count > 2 else 'larger'} {name}", areas[-1]))
        if _area(areas[1]) > 1.5 * _area(areas[0]):
            found.append((f"the {'smallest' if count > 2 else 'smaller'} {name}", areas[0]))
    for one in scene.single:
        for other in scene.single:
            if one is not other and (where := beside(scene, one, other)):
                found.append((f"the {one.thing.name} {where} the {other.thing.name}", one))
    return found


def _area(item: Placed) -> int:
    x1, y1, x2, y2 = item.box
    return (x2 - x1) * (y2 - y1)


def general_turns(scene: Composed, names: Sequence[str], turn: int, rng: random.Random) -> list[tuple[str, str]]:
    """Questions and answers in words: numbers, whether something is there, what lies where."""
    counts = scene.counts
    absent = scene.absent(names)
    turns: list[tuple[str, str]] = []
    name = rng.choice(sorted(counts))
    turns.append((f"How many {plural(name)} are there?", str(counts[name])))
    turns.append(("How many things lie on the background?", str(len(scene.placed))))
    turns.append(("How many different kinds of things lie on the background?", str(len(counts))))
    present = turn % 2 == 0 or not absent
    asked = rng.choice(sorted(counts) if present else absent)
    turns.append((f"Is there {one_of(asked)} in the picture?", "yes" if present else "no"))
    if absent and rng.random() < 0.25:
        turns.append((f"How many {plural(rng.choice(absent))} are there?", "0"))
    pairs = [(a, b, where) for a in scene.single for b in scene.single if a is not b and (where := beside(scene, a, b))]
    if pairs:
        a, b, where = rng.choice(pairs)
        opposite = {"to the left of": "to the right of", "above": "below"}
        swapped = opposite | {there: here for here, there in opposite.items()}
        asked_where = where if turn // 2 % 2 == 0 else swapped[where]
        question = f"Is the {a.thing.name} {asked_where} the {b.thing.name}?"
        turns.append((question, "yes" if asked_where == where else "no"))
    return rng.sample(turns, len(turns))


def boxed_turns(
    scene: Composed, names: Sequence[str], turn: int, rng: random.Random
) -> list[tuple[str, str, list[Placed], list[list[Placed]]]]:
    """(question, answer, things named by box in the question, things of each ``<bbox_locationK>`` of the answer)."""
    counts = scene.counts
    turns: list[tuple[str, str, list[Placed], list[list[Placed]]]] = []
    item = rng.choice(scene.placed)
    turns.append(("What is <bbox_location0>?", item.thing.name, [item], []))
    phrase, item = rng.choice(expressions(scene) or [("", item)])
    if phrase:
        turns.append((f"Where is {phrase}?", f"{phrase} <bbox_location0>", [], [[item]]))
    name = rng.choice(sorted(counts))
    like = [item for item in scene.placed if item.thing.name == name]
    turns.append((f"Find every {name}.", f"{name} <bbox_location0>", [], [like]))
    absent = scene.absent(names)
    if absent and turn % 2:
        missing = rng.choice(absent)
        turns.append((f"Find every {missing}.", f"There is no {missing} in the picture.", [], []))
    if turn % 4 == 0:
        groups = [[item for item in scene.placed if item.thing.name == name] for name in counts]
        told = ", ".join(f"{name} <bbox_location{k}>" for k, name in enumerate(counts))
        turns.append(("Name everything that lies on the background, with its place.", told, [], groups))
    return rng.sample(turns, len(turns))


CHANGES = ("added", "removed", "replaced", "moved", "same")


def changed(scene: Composed, stock: Stock, kind: str, rng: random.Random) -> tuple[Composed, str] | None:
    """The same background with one thing changed, and a sentence that says so; None where that cannot be."""
    if not scene.single or (kind == "removed" and len(scene.placed) < 2):
        return None
    item = rng.choice(scene.single)
    others = tuple(other for other in scene.placed if other is not item)
    name = item.thing.name
    if kind == "same":
        return scene, "Nothing has changed."
    if kind == "removed":
        return replace(scene, placed=others), f"The {name} is gone."
    if kind == "moved":
        thing = item.thing
    else:
        absent = scene.absent(stock.names)
        if not absent:
            return None
        x1, y1, x2, y2 = item.box
        thing = make_thing(stock, rng.choice(absent), max(x2 - x1, y2 - y1), rng)
    kept = scene.placed if kind == "added" else others
    width, height = scene.size
    for _ in range(40):
        wide, high = thing.sticker.size
        if wide > width or high > height:
            return None
        x, y = rng.randint(0, width - wide), rng.randint(0, height - high)
        if kind == "replaced":
            x = min(max(0, round(item.center[0] - wide / 2)), width - wide)
            y = min(max(0, round(item.center[1] - high / 2)), height - high)
        new = Placed(thing, (x, y, x + wide, y + high))
        far = abs(new.center[0] - item.center[0]) >= 0.2 * width or abs(new.center[1] - item.center[1]) >= 0.2 * height
        if any(overlap(new.box, other.box) for other in kept) or (kind == "moved" and not far):
            continue
        second = replace(scene, placed=tuple(sorted((*kept, new), key=lambda one: one.center)))
        told = {
            "added": f"There is now {one_of(thing.name)}.",
            "replaced": f"The {name} has become {one_of(thing.name)}.",
            "moved": f"The {name} has moved.",
        }
        return second, told[kind]
    return None
