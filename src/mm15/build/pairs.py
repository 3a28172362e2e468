"""Questions over two or three pictures: the same object, which picture shows it, what changed from one to the next.

Row (llava with an image list; ``width`` and ``height`` are lists too)::

    {"image": ["images/pairs/000000.png", "images/pairs/000000-1.png"], "width": [84, 71], "height": [70, 88],
     "conversations": [{"from": "human", "value": "<image><image>\\nSame object in both?"},
                       {"from": "gpt", "value": "yes"}], "task": "same"}

Held-out rows hold only the four binary tasks, in equal parts; their two answers alternate, so chance is one half.
Training rows hold open questions and three-picture questions besides. Held-out ``same`` and ``both`` rows mostly show
one drawing twice, stretched, turned, tinted and on another background: most names have no second held-out drawing.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mm15.base.rng import python_rng
from mm15.build.canvas import (
    COLORS,
    SHAPES,
    BuildReport,
    Save,
    Thing,
    build_rows,
    cut_out,
    layout,
    llava_row,
    named_thing,
    paste,
    photo_crop,
    random_size,
    shape_thing,
    with_article,
)
from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine

BINARY = ("same", "which", "both", "change")
OPEN = ("added", "removed", "which-of-three")
QUESTIONS = {
    "same": "Same object in both?",
    "change": "Is something new in picture two?",
    "added": "What was added?",
    "removed": "What was removed?",
}
SIDES = (18, 34)


def build(
    out: Path, split: Split, n: int, seed: int, materials: Materials, name: str = "pairs", workers: int = 2
) -> BuildReport:
    """Write n rows of two or three pictures as ``<out>/<name>.jsonl``."""
    return build_rows(out, name, n, partial(_row, materials, split, seed, name), Engine(workers=workers))


def _row(materials: Materials, split: Split, seed: int, name: str, index: int, save: Save) -> dict[str, Any]:
    rng = python_rng(seed, "pairs", split, name, index)
    tasks = BINARY if split == "heldout" else BINARY + OPEN
    turn, slot = divmod(index, len(tasks))
    task = tasks[slot]
    if task in ("same", "both"):
        pictures, question, answer = _two_drawings(materials, split, task, turn % 2 == 0, rng)
        turns = [(question, answer)]
    elif task in ("which", "which-of-three"):
        pictures, turns = _which(materials, split, 2 if task == "which" else 3, turn, rng)
    else:
        pictures, question, answer = _changed(materials, split, task, turn % 2 == 0, rng)
        turns = [(question, answer)]
    return llava_row(f"{name}/{index}", task, [save(picture) for picture in pictures], pictures, turns)


def _two_drawings(
    materials: Materials, split: Split, task: str, yes: bool, rng: random.Random
) -> tuple[list[Image.Image], str, str]:
    """Two pictures with an object each: of one name, in different drawings where there are two, or of two names."""
    asked, other = rng.sample(materials.names, 2)
    names = [asked, asked] if yes else [asked, other]
    drawings = [rng.randrange(len(materials.pictures(asked, split)))]
    choices = range(len(materials.pictures(names[1], split)))
    others = [drawing for drawing in choices if not yes or drawing != drawings[0]]
    drawings.append(rng.choice(others or choices))
    things = [
        Thing(name, cut_out(materials, name, split, drawing, rng.randint(18, 34), rng, varied=True))
        for name, drawing in zip(names, drawings, strict=True)
    ]
    rng.shuffle(things)
    question = QUESTIONS["same"] if task == "same" else f"Do both show {with_article(asked)}?"
    return [_picture(materials, split, [thing], rng) for thing in things], question, "yes" if yes else "no"


def _which(
    materials: Materials, split: Split, count: int, turn: int, rng: random.Random
) -> tuple[list[Image.Image], list[tuple[str, str]]]:
    """Pictures of different objects; held out, one of them is asked for, places in turn.

    In training a picture may show two objects, and several are asked for.
    """
    several = split == "train" and rng.random() < 0.7
    names = rng.sample(materials.names, count * (2 if several else 1))
    groups = [names[place::count] for place in range(count)]
    sides = (SIDES[0], 26) if several else SIDES
    pictures = []
    for group in groups:
        things = [named_thing(materials, name, split, rng, sides) for name in group]
        pictures.append(_picture(materials, split, things if several else [*things, *_maybe_shape(rng)], rng))
    # Places are drawn one by one, so that the first answers do not tell the next.
    asked = []
    for place in [turn % count] + [rng.randrange(count) for _ in range(count - 1 if several else 0)]:
        if groups[place]:
            asked.append((groups[place].pop(), place))
    turns = []
    for name, place in asked:
        if count == 2:
            turns.append((f"Which has {with_article(name)}, first or second?", ("first", "second")[place]))
        else:
            turns.append((f"Which has {with_article(name)}: 1, 2 or 3?", str(place + 1)))
    return pictures, turns


def _changed(
    materials: Materials, split: Split, task: str, yes: bool, rng: random.Random
) -> tuple[list[Image.Image], str, str]:
    """Two otherwise equal pictures: one thing more in the second, one thing less, or no change."""
    while True:
        things = [named_thing(materials, name, split, rng, SIDES) for name in rng.sample(materials.names, 2)]
        things += _maybe_shape(rng)
        width, height = random_size(rng, 52, 64)
        placed = layout(things, width, height, rng)
        if placed:
            break
    background = photo_crop(materials.photos(split), width, height, rng)
    extra = rng.randrange(len(placed))
    full, less = paste(background, placed), paste(background, placed[:extra] + placed[extra + 1 :])
    label = placed[extra].thing.label
    if task == "added":
        return [less, full], QUESTIONS[task], label
    if task == "removed":
        return [full, less], QUESTIONS[task], label
    if yes:
        return [less, full], QUESTIONS[task], "yes"
    return rng.choice([[full, less], [less, less], [full, full]]), QUESTIONS[task], "no"


def _maybe_shape(rng: random.Random) -> list[Thing]:
    if rng.random() < 0.5:
        return []
    return [shape_thing(rng.choice(SHAPES), rng.choice(list(COLORS)), rng.randint(13, 20))]


def _picture(materials: Materials, split: Split, things: list[Thing], rng: random.Random) -> Image.Image:
    while True:
        width, height = random_size(rng, 48, 64)
        placed = layout(things, width, height, rng)
        if placed:
            return paste(photo_crop(materials.photos(split), width, height, rng), placed)
