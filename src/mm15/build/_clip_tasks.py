"""What happens in a clip, and what is asked about it.

A clip is made of scenes, one after the other with hard cuts between. A scene is a place (a photograph, or a shot of a
film that runs) and things on it, each with a path: where it is in every frame, or that it is not there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from PIL import Image

from mm15.build._film import Film
from mm15.build.canvas import (
    COLORS,
    SHAPES,
    PixelBox,
    Placed,
    Thing,
    layout,
    named_thing,
    photo_crop,
    shape_thing,
)
from mm15.build.materials import Materials, Split

Spot = tuple[int, int] | None
"""Left and top of a thing in a frame, in px; None where it is not there. It may lie partly outside."""
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ORDINALS = ("first", "second", "third")
NUMBERS = ("0", "1", "2", "3", "4", "5")
CLEAR = 30.0
"""Mean change of a pixel, of 255, that nobody misses."""
LIVELY = 1.5
"""The same from each frame to the next where a film visibly runs."""
FILMED = 0.4
"""Share of the scenes whose place is a film, where there is one."""


@dataclass(frozen=True, slots=True)
class Track:
    """A thing and its place in every frame of its scene."""

    thing: Thing
    spots: Sequence[Spot]

    def box(self, frame: int, width: int, height: int) -> PixelBox | None:
        """What can be seen of it, None if nothing."""
        spot = self.spots[frame]
        if spot is None:
            return None
        w, h = self.thing.sticker.size
        box = (max(0, spot[0]), max(0, spot[1]), min(width, spot[0] + w), min(height, spot[1] + h))
        return box if box[0] < box[2] and box[1] < box[3] else None


@dataclass(frozen=True, slots=True)
class Scene:
    """A place, one picture per frame, and the things on it, later ones on top."""

    places: Sequence[Image.Image]
    tracks: Sequence[Track] = ()

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Clip:
    """Scenes in order, all of one size in px."""

    scenes: Sequence[Scene]
    width: int
    height: int

    def __len__(self) -> int:
        return sum(map(len, self.scenes))

    @property
    def cuts(self) -> list[int]:
        """The first frame of every scene but the first."""
        ends = [sum(map(len, self.scenes[: k + 1])) for k in range(len(self.scenes))]
        return ends[:-1]

    def frames(self) -> Iterator[Image.Image]:
        """The frames as RGB pictures."""
        for scene in self.scenes:
            for number, place in enumerate(scene.places):
                picture = place.copy()
                for track in scene.tracks:
                    spot = track.spots[number]
                    if spot is not None:
                        picture.paste(track.thing.sticker, spot, track.thing.sticker)
                yield picture

    def objects(self) -> list[dict[str, Any]]:
        """Every thing by scene: ``{"name", "color"?, "boxes": [[frame, x1, y1, x2, y2], ...]}``."""
        listed = []
        start = 0
        for scene in self.scenes:
            for track in scene.tracks:
                boxes = [(start + k, track.box(k, self.width, self.height)) for k in range(len(scene))]
                color = {"color": track.thing.color} if track.thing.color else {}
                shown = [[frame, *box] for frame, box in boxes if box]
                listed.append({"name": track.thing.name, **color, "boxes": shown})
            start += len(scene)
        return listed


@dataclass(frozen=True, slots=True)
class Made:
    """A clip, a question, its answer, and wrong answers that might have been right."""

    task: str
    clip: Clip
    question: str
    answer: str
    others: Sequence[str]


@dataclass(frozen=True)
class Stage:
    """What scenes of one clip are made of."""

    materials: Materials
    split: Split
    films: Sequence[Film]
    rng: random.Random
    width: int
    height: int
    used: list[Any] = field(default_factory=list)
    """Photographs (by number) and shots that earlier scenes of the clip show: the next place is another."""

    def place(self, frames: int, filmed: bool | None = None) -> list[Image.Image]:
        """A photograph that stands still, or a part of a film that runs."""
        shots = [(film, shot) for film in self.films for shot in film.shots if len(shot) >= frames]
        photos = self.materials.photos(self.split)
        fresh_shots = [one for one in shots if one not in self.used]
        fresh_photos = [k for k in range(len(photos)) if k not in self.used]
        if filmed is None:
            filmed = self.rng.random() < FILMED and bool(fresh_shots)
        if not filmed or not shots:
            chosen = self.rng.choice(fresh_photos or range(len(photos)))
            self.used.append(chosen)
            return [photo_crop([photos[chosen]], self.width, self.height, self.rng)] * frames
        film, shot = self.rng.choice(fresh_shots or shots)
        self.used.append((film, shot))
        first = self.rng.randint(shot.first, shot.last - frames)
        return self._cut(film, range(first, first + frames))

    def _cut(self, film: Film, numbers: Sequence[int]) -> list[Image.Image]:
        """The same random part of every frame."""
        size = film.frame(numbers[0]).size
        fit = min(size[0] / self.width, size[1] / self.height) * self.rng.uniform(0.7, 1.0)
        left = self.rng.uniform(0, size[0] - fit * self.width)
        top = self.rng.uniform(0, size[1] - fit * self.height)
        box = (left, top, left + fit * self.width, top + fit * self.height)
        shape = (self.width, self.height)
        return [film.frame(k).resize(shape, Image.Resampling.BILINEAR, box=box) for k in numbers]

    def named(self, name: str, low: float = 0.28, high: float = 0.4) -> Thing:
        side = min(self.width, self.height)
        return named_thing(self.materials, name, self.split, self.rng, (round(low * side), round(high * side)))

    def moving(self, thing: Thing, frames: int, way: str, pad: int = 0) -> Track:
        """Right through the picture along one axis, from outside to outside or (``pad``) staying inside."""
        dx, dy = WAYS[way]
        w, h = thing.sticker.size
        spans = ((-w + pad, self.width - pad), (-h + pad, self.height - pad))
        fixed = (self.rng.randint(0, self.width - w), self.rng.randint(0, self.height - h))
        spots: list[Spot] = []
        for k in range(frames):
            at = k / max(1, frames - 1)
            x, y = fixed
            if dx:
                low, high = spans[0]
                x = round(low + (high - low) * (at if dx > 0 else 1 - at))
            if dy:
                low, high = spans[1]
                y = round(low + (high - low) * (at if dy > 0 else 1 - at))
            spots.append((x, y))
        return Track(thing, spots)

    def still(self, placed: Placed, frames: int, shown: Callable[[int], bool] = lambda _: True) -> Track:
        """In one place, in the frames that are ``shown``."""
        return Track(placed.thing, [placed.box[:2] if shown(k) else None for k in range(frames)])

    def clip(self, *scenes: Scene) -> Clip:
        return Clip(scenes, self.width, self.height)


def _stage(materials: Materials, split: Split, films: Sequence[Film], rng: random.Random, size: int) -> Stage:
    """Sides are even, as H.264 wants them, and never equal; the longer at most ``size`` px."""
    longer = 2 * rng.randint(round(size * 0.39), size // 2)
    shorter = 2 * round(longer * rng.uniform(0.33, 0.44))
    width, height = (longer, shorter) if rng.random() < 0.7 else (shorter, longer)
    return Stage(materials, split, films, rng, width, height)


def _direction(stage: Stage, turn: int) -> Made:
    way = list(WAYS)[turn % 4]
    frames = stage.rng.randint(16, 28)
    name = stage.rng.choice(stage.materials.names)
    # Never wholly outside, so that the first and last frames tell as well.
    thing = stage.named(name)
    track = stage.moving(thing, frames, way, pad=min(thing.sticker.size))
    scene = Scene(stage.place(frames), [track])
    return Made("direction", stage.clip(scene), f"Which way does the {name} move?", way, list(WAYS))


def _order(stage: Stage, turn: int) -> Made:
    """Three things in three places; asked for the n-th, or for what follows another."""
    names = stage.rng.sample(stage.materials.names, 5)
    scenes = []
    for name in names[:3]:
        frames = stage.rng.randint(7, 11)
        thing = stage.named(name)
        placed = layout([thing], stage.width, stage.height, stage.rng)
        assert placed  # one thing always fits
        scenes.append(Scene(stage.place(frames), [stage.still(placed[0], frames)]))
    asked = turn % 5
    if asked < 3:
        question, answer = f"What is shown {ORDINALS[asked]}?", names[asked]
    else:
        question, answer = f"What is shown right after the {names[asked - 3]}?", names[asked - 2]
    return Made("order", stage.clip(*scenes), question, answer, names)


def _cuts(stage: Stage, turn: int) -> Made:
    """Places joined by cuts: how often does the place change?"""
    count = turn % 4
    scenes: list[Scene] = []
    while len(scenes) <= count:
        places = stage.place(stage.rng.randint(6, 9))
        # Two grey walls look alike, and a lively film jumps by itself: a cut must be seen, and be the only jump.
        calm = max(_change_between(one, other) for one, other in pairwise(places)) < CLEAR / 2
        if calm and (not scenes or _change_between(scenes[-1].places[-1], places[0]) > CLEAR):
            scenes.append(Scene(places))
    question = "How many times does the place change?"
    return Made("cuts", stage.clip(*scenes), question, str(count), NUMBERS[:5])


def _visits(stage: Stage, turn: int) -> Made:
    """A thing that crosses the picture several times, always the same way round."""
    count = 1 + turn % 4
    name = stage.rng.choice(stage.materials.names)
    thing = stage.named(name, 0.24, 0.34)
    way = stage.rng.choice(("left", "right"))
    spots: list[Spot] = [None] * stage.rng.randint(1, 3)
    for _ in range(count):
        spots += list(stage.moving(thing, stage.rng.randint(6, 8), way, pad=2).spots)
        spots += [None] * 2
    scene = Scene(stage.place(len(spots)), [Track(thing, spots)])
    question = f"How many times does the {name} cross the picture?"
    return Made("visits", stage.clip(scene), question, str(count), NUMBERS[:5])


def _change(stage: Stage, turn: int) -> Made:
    """Three things on a place that stands still; half way one comes, goes or takes another colour."""
    kind = ("disappears", "appears", "color")[turn % 3]
    frames = 2 * stage.rng.randint(8, 12)
    half = frames // 2
    names = stage.rng.sample(stage.materials.names, 5)
    while True:
        things = [stage.named(name, 0.22, 0.32) for name in names[:3]]
        old, new = stage.rng.sample(list(COLORS), 2)
        side = round(0.28 * min(stage.width, stage.height))
        shape = stage.rng.choice(SHAPES)
        if kind == "color":
            things = [*things[:2], shape_thing(shape, old, side)]
        placed = layout(things, stage.width, stage.height, stage.rng)
        if placed:
            break
    place = stage.place(frames, filmed=False)
    changing = next(item for item in placed if item.thing is things[-1])
    rest = [stage.still(item, frames) for item in placed if item is not changing]
    if kind == "color":
        later = Placed(shape_thing(shape, new, side), changing.box)
        before, after = (
            stage.still(changing, frames, lambda k: k < half),
            stage.still(later, frames, lambda k: k >= half),
        )
        question = f"What color does the {shape} become?"
        return Made("change", stage.clip(Scene(place, [*rest, before, after])), question, new, list(COLORS))
    shown = (lambda k: k < half) if kind == "disappears" else (lambda k: k >= half)
    scene = Scene(place, [*rest, stage.still(changing, frames, shown)])
    return Made("change", stage.clip(scene), f"What {kind}?", changing.thing.name, names)


def _run(stage: Stage, turn: int) -> Made:
    """A film that stops for one half, or a thing on a photograph where there is no film."""
    frames = 2 * stage.rng.randint(8, 10)
    half = frames // 2
    when = ("first", "second")[turn % 2]
    options = ["first half", "second half", "all the time", "never"]
    question = "In which half does the picture stand still?"
    moving = _lively(stage, half)
    if moving is None:
        name = stage.rng.choice(stage.materials.names)
        thing = stage.named(name)
        way = stage.rng.choice(list(WAYS))
        spots = list(stage.moving(thing, half, way, pad=min(thing.sticker.size)).spots)
        spots = [spots[0]] * half + spots if when == "first" else spots + [spots[-1]] * half
        scene = Scene(stage.place(frames, filmed=False), [Track(thing, spots)])
    else:
        stopped = [moving[0]] * half + moving if when == "first" else moving + [moving[-1]] * half
        scene = Scene(stopped)
    return Made("standstill", stage.clip(scene), question, f"{when} half", options)


def _lively(stage: Stage, frames: int) -> list[Image.Image] | None:
    """A part of a film in which something moves all the time, if a few tries find one."""
    for _ in range(12):
        places = stage.place(frames, filmed=True)
        steps = [_change_between(one, other) for one, other in pairwise(places)]
        if min(steps) > LIVELY:
            return places
    return None


def _change_between(one: Image.Image, other: Image.Image) -> float:
    """Mean change of a pixel, of 255."""
    a, b = (picture.resize((32, 24)).tobytes() for picture in (one, other))
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def _task(make: Callable[[Stage, int], Made]) -> Callable[..., Made]:
    def made(
        materials: Materials, split: Split, films: Sequence[Film], turn: int, rng: random.Random, size: int
    ) -> Made:
        return make(_stage(materials, split, films, rng, size), turn)

    return made


TASKS: dict[str, Callable[..., Made]] = {
    "direction": _task(_direction),
    "order": _task(_order),
    "cuts": _task(_cuts),
    "visits": _task(_visits),
    "change": _task(_change),
    "standstill": _task(_run),
}
"""Task → (materials, split, films, turn within the task, rng, size) → a clip and what is asked about it."""
