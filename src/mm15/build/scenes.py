"""Scenes: a crop of a real photograph with one to four named objects and coloured shapes on it, whose places are known.

Kinds and their rows (every row also has ``width``, ``height``, ``task`` and ``objects``)::

    caption        {"image": "images/scenes_caption/000000.png", "conversations": [
                    {"from": "human", "value": "<image>"},
                    {"from": "gpt", "value": "a dog, a red circle and a key"}]}       (llava; left to right)
    general        ... {"value": "<image>\\nWhat color is the star?"}, {"value": "red"}                (llava)
    located, refer, ground, refer_ground
                   ... {"value": "<image>\\nWhere is the dog?"}, {"value": "dog <bbox_location0>"}    (ferret-json,
                    "box_x1y1x2y2": [[], [[12, 30, 61, 80]]], "image_w", "image_h")
    refer_unseen, ground_unseen   the same about names that no training picture shows (held-out split only)
    objects: [{"name": "dog", "box": [12, 30, 61, 80]}, {"name": "circle", "box": [...], "color": "red"}]

Row i depends on (seed, split, name, i) only. Tasks come in turn, yes and no in turn within a task.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build.canvas import (
    COLORS,
    SHAPES,
    BuildReport,
    PixelBox,
    Placed,
    Save,
    build_rows,
    layout,
    listing,
    llava_row,
    named_thing,
    paste,
    photo_crop,
    shape_thing,
    with_article,
)
from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine

KINDS: dict[str, tuple[str, ...]] = {
    "caption": ("caption",),
    "general": ("exists", "color", "left-right", "is-color", "count", "shape", "top-bottom", "this"),
    "located": ("located",),
    "refer": ("refer",),
    "ground": ("ground",),
    "refer_ground": ("ground", "refer", "ground", "detect", "refer", "ground", "refer", "find-all"),
    "refer_unseen": ("refer-unseen",),
    "ground_unseen": ("ground-unseen",),
}
"""Kind → its tasks, in the order in which rows take them; a task named twice gets a double share."""
CHEAP = ("exists",) * 3
"""Asked again about other names where a picture has several questions: each takes a search of the whole picture."""
BOXED = {"located", "refer", "ground", "refer_ground", "refer_unseen", "ground_unseen"}
YES_NO = ("yes", "no")
SIZES = ((50, 40), (40, 50))
"""Width and height in px: sides that divide 1000, so that a box's 0-999 numbers follow from whole pixels and the last
digits, which nobody could see, are no noise in what is learned."""
CLEAR = 0.25
"""Part of the picture's side by which "on the left" must lie apart from everything else."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question and its answer; ``<bbox_locationK>`` stands for the K-th box of the question or of the answer."""

    question: str
    answer: str
    asked: list[PixelBox] = field(default_factory=list)
    answered: list[PixelBox] = field(default_factory=list)
    told: Sequence[Placed] = ()
    """What question and answer tell of: no later question may be about these, or it could be answered by copying."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Things at their places on a picture of width x height px, left to right."""

    placed: list[Placed]
    width: int
    height: int
    names: Sequence[str]
    """Every object name that could occur."""
    free: Sequence[Placed]
    """What may be asked about: what no question has told of, or the one object of an unseen name."""

    def without(self, told: Sequence[Placed]) -> Scene:
        """The same scene after a question that told of some things."""
        return replace(self, free=[item for item in self.free if item not in told])


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    kind: str = "general",
    name: str = "",
    turns: int = 1,
    workers: int = 2,
) -> BuildReport:
    """Write n scenes of one kind as ``<out>/<name>.jsonl``.

    Args:
        kind: one of ``KINDS``.
        name: of the data set; ``scenes_<kind>`` by default.
        turns: most questions per picture: the first as in ``KINDS``, the others any tasks of the kind about things
            that no question before has told of.

    Raises:
        ValueError: unknown kind, or unseen names asked for in training data.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}' of scenes; known: {', '.join(KINDS)}")
    if split == "train" and kind.endswith("_unseen"):
        raise ValueError(f"kind '{kind}' shows names that training must never see; build it for the held-out split")
    name = name or f"scenes_{kind}"
    return build_rows(out, name, n, partial(_row, materials, split, seed, name, kind, turns), Engine(workers=workers))


def _row(
    materials: Materials, split: Split, seed: int, name: str, kind: str, turns: int, index: int, save: Save
) -> dict[str, Any]:
    rng = python_rng(seed, "scenes", split, name, index)
    tasks = KINDS[kind]
    # Tasks in turn; each task's own counter says what it asks for, so that answers are exactly balanced.
    round_, slot = divmod(index, len(tasks))
    task = tasks[slot]
    turn = round_ * tasks.count(task) + tasks[:slot].count(task)
    scene, first = _suitable(materials, split, task, turn, rng)
    asks, left = [first], scene.without(first.told)
    pool = tasks + (CHEAP if "exists" in tasks else ())
    for other in rng.sample(pool, len(pool)) if turns > 1 else ():
        ask = TASKS[other](left, rng.randrange(1 << 20), rng)
        if ask and len(asks) < turns and ask.question not in [before.question for before in asks]:
            asks.append(ask)
            left = left.without(ask.told)
    background = photo_crop(materials.photos(split), scene.width, scene.height, rng)
    picture = paste(background, scene.placed)
    row = llava_row(f"{name}/{index}", task, save(picture), [picture], [(ask.question, ask.answer) for ask in asks])
    if kind in BOXED:
        boxes = [list(map(list, side)) for ask in asks for side in (ask.asked, ask.answered)]
        row |= {"image_w": picture.width, "image_h": picture.height, "box_x1y1x2y2": boxes}
    return row | {"objects": [item.entry() for item in scene.placed]}


def _suitable(materials: Materials, split: Split, task: str, turn: int, rng: random.Random) -> tuple[Scene, Ask]:
    """Scenes are drawn until the task has something to ask; most tasks take the first."""
    while True:
        scene = sample_scene(materials, split, task, turn, rng)
        ask = TASKS[task](scene, turn, rng)
        if ask:
            return scene, ask


def sample_scene(materials: Materials, split: Split, task: str, turn: int, rng: random.Random) -> Scene:
    """A random scene of the make-up that ``task`` needs. Names, shapes and colors differ, but for wanted copies."""
    while True:
        objects, shapes, copies = _make_up(task, turn, rng)
        names = rng.sample(materials.names, objects)
        if task.endswith("-unseen"):
            names[0] = rng.choice(materials.unseen_names)
        few = objects + shapes + copies <= 3
        things = [
            named_thing(materials, name, split, rng, (14, 25) if few else (13, 19))
            for name in names[:1] * (copies - 1) + names
        ]
        for shape, color in zip(rng.sample(SHAPES, shapes), rng.sample(list(COLORS), shapes), strict=True):
            things.append(shape_thing(shape, color, rng.randint(11, 18)))
        rng.shuffle(things)
        width, height = rng.choice(SIZES)
        placed = layout(things, width, height, rng)
        if placed:
            unseen = [item for item in placed if item.thing.name in materials.unseen_names]
            return Scene(placed, width, height, materials.names, unseen or placed)


def _make_up(task: str, turn: int, rng: random.Random) -> tuple[int, int, int]:
    """(named objects, shapes, copies of the first object)."""
    if task == "this":
        return 1, 0, 1
    if task in ("left-right", "top-bottom"):
        return rng.choice([(2, 0, 1), (2, 1, 1), (3, 0, 1)])
    if task in ("color", "shape", "is-color"):
        return rng.randint(0, 2), rng.randint(1, 2), 1
    if task == "find-all":
        return rng.choice([(1, 0, 2), (1, 0, 3), (1, 1, 2), (1, 1, 3), (2, 0, 2), (2, 0, 3), (2, 1, 2)])
    if task == "count":
        objects = rng.randint(0, 1 + turn % 4)
        return objects, 1 + turn % 4 - objects, 1
    return rng.choice([(1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1), (1, 2, 1), (3, 0, 1), (2, 2, 1), (3, 1, 1)])


def _caption(scene: Scene, turn: int, rng: random.Random) -> Ask:
    return Ask("", listing([item.thing.phrase for item in scene.placed]))


def _this(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    only = scene.placed[0].thing
    alone = len(scene.placed) == len(scene.free) == 1 and not only.color
    return Ask("What is this?", only.name, told=scene.placed) if alone else None


def _color(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    shape = _some_shape(scene, rng)
    if not shape:
        return None
    return Ask(f"What color is the {shape.thing.name}?", shape.thing.color, told=[shape])


def _shape(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    shape = _some_shape(scene, rng)
    if not shape:
        return None
    return Ask(f"Which shape is {shape.thing.color}?", shape.thing.name, told=[shape])


def _is_color(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    shape = _some_shape(scene, rng)
    if not shape:
        return None
    wrong = [color for color in COLORS if color != shape.thing.color]
    color = rng.choice(wrong) if turn % 2 else shape.thing.color
    return Ask(f"Is the {shape.thing.name} {color}?", YES_NO[turn % 2], told=[shape])


def _some_shape(scene: Scene, rng: random.Random) -> Placed | None:
    shapes = [item for item in scene.free if item.thing.color]
    return rng.choice(shapes) if shapes else None


def _exists(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    shown = [item.thing.name for item in scene.placed]
    present = [item.thing.name for item in scene.free if not item.thing.color]
    # Scenes without objects are passed over for "no" as well: an answer must not follow from the kind of scene.
    if not present:
        return None
    asked = rng.choice([name for name in scene.names if name not in shown] if turn % 2 else present)
    told = [item for item in scene.free if item.thing.name == asked]
    return Ask(f"Is there {with_article(asked)}?", YES_NO[turn % 2], told=told)


def _count(scene: Scene, turn: int, rng: random.Random) -> Ask:
    return Ask("How many things are there?", str(len(scene.placed)))


def _left_right(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    return _extreme(scene, 0, ("left", "right")[turn % 2])


def _top_bottom(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    return _extreme(scene, 1, ("top", "bottom")[turn % 2])


def _extreme(scene: Scene, axis: int, side: str) -> Ask | None:
    """The thing furthest to one side, if it is a named object and lies clearly apart from all others."""
    ordered = sorted(scene.placed, key=lambda item: item.center[axis], reverse=side in ("right", "bottom"))
    if len(ordered) < 2 or ordered[0].thing.color or ordered[0] not in scene.free:
        return None
    gap = abs(ordered[1].center[axis] - ordered[0].center[axis])
    clear = gap >= CLEAR * (scene.width, scene.height)[axis]
    return Ask(f"What is on the {side}?", ordered[0].thing.name, told=ordered[:1]) if clear else None


def _refer(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    if not scene.free:
        return None
    chosen = rng.choice(scene.free)
    return Ask("What is at <bbox_location0>?", chosen.thing.label, asked=[chosen.box], told=[chosen])


def _ground(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    labels = [item.thing.label for item in scene.placed]
    single = [item for item in scene.free if labels.count(item.thing.label) == 1]
    if not single:
        return None
    chosen = rng.choice(single)
    label = chosen.thing.label
    return Ask(f"Where is the {label}?", f"{label} <bbox_location0>", answered=[chosen.box], told=[chosen])


def _detect(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    if len(scene.free) < len(scene.placed):
        return None
    return _list_boxes("Detect all.", scene.placed)


def _located(scene: Scene, turn: int, rng: random.Random) -> Ask:
    return _list_boxes("Name everything and its place.", rng.sample(scene.placed, len(scene.placed)))


def _find_all(scene: Scene, turn: int, rng: random.Random) -> Ask | None:
    """Every copy of the label that occurs most often, in a scene that nothing was asked about."""
    if len(scene.free) < len(scene.placed):
        return None
    labels = [item.thing.label for item in scene.placed]
    label = max(labels, key=labels.count)
    return _list_boxes(f"Find all: {label}.", [item for item in scene.placed if item.thing.label == label])


def _list_boxes(question: str, items: Sequence[Placed]) -> Ask:
    parts = [f"{item.thing.label} <bbox_location{k}>" for k, item in enumerate(items)]
    return Ask(question, ", ".join(parts), answered=[item.box for item in items], told=items)


TASKS: dict[str, Callable[[Scene, int, random.Random], Ask | None]] = {
    "caption": _caption,
    "this": _this,
    "color": _color,
    "shape": _shape,
    "is-color": _is_color,
    "exists": _exists,
    "count": _count,
    "left-right": _left_right,
    "top-bottom": _top_bottom,
    "refer": _refer,
    "ground": _ground,
    "refer-unseen": _refer,
    "ground-unseen": _ground,
    "detect": _detect,
    "located": _located,
    "find-all": _find_all,
}
"""Task → (scene, turn, rng) → what to ask, or None where the scene offers nothing. ``turn`` counts within the task."""
