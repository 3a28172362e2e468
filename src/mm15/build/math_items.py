"""Counting, comparing and continuing patterns: pictures whose short answers follow from how they were drawn.

A row (llava, category math), written to ``math.jsonl``::

    {"id": "math/000001", "image": "images/math/000001.png", "width": 96, "height": 64, "conversations": [{"from":
     "human", "value": "<image>\\nHow many stars?"}, {"from": "gpt", "value": "4"}], "task": "math_count",
     "data": {"cells": ["star", "circle", ...]}}

Tasks: ``math_count`` "How many stars?" (1-6), ``math_high`` and ``math_low`` "Which bar is highest, A, B, C or D?",
``math_next`` "Which shape comes next?", ``math_dots`` "How many dots come next?" (1-6). Answers are balanced.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from mm15.base.rng import python_rng
from mm15.build._bars import bar_chart, vivid
from mm15.build._items import Item, write_items
from mm15.build._typeset import colors, load_font, typefaces, wear
from mm15.build.canvas import COLORS, SHAPES, BuildReport, shape_sticker
from mm15.build.materials import Materials, Split

TASKS = ("math_count", "math_high", "math_next", "math_low", "math_count", "math_dots")
PATTERNS = ("ABABAB", "ABCABC", "AABAAB", "ABBABB")
INKS = tuple(color for color in COLORS if color not in ("white", "yellow"))
"""Colors that stand out on light paper."""
PLURALS = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in SHAPES}


def build(out: Path, split: Split, n: int, seed: int, materials: Materials, workers: int = 2) -> list[BuildReport]:
    """Write ``n`` rows to ``math.jsonl``."""
    return [write_items(out, "math", n, partial(make, split=split, seed=seed, materials=materials), workers=workers)]


def make(index: int, split: Split, seed: int, materials: Materials) -> Item:
    """Item ``index``: a function of its arguments alone. Tasks and answers take turns."""
    rng = python_rng(seed, "math", split, index)
    task, turn = TASKS[index % len(TASKS)], index // len(TASKS)
    if task == "math_count":
        return count_item(1 + (2 * turn + index % len(TASKS) // 4) % 6, rng)
    if task == "math_next":
        return next_item(SHAPES[turn % len(SHAPES)], rng)
    if task == "math_dots":
        return dots_item(1 + turn % 6, rng)
    return letters_item(task, turn % 4, typefaces(materials, split), rng)


def count_item(count: int, rng: random.Random) -> Item:
    """``count`` shapes of one kind among others on a grid."""
    asked, *others = rng.sample(SHAPES, 3)
    rows, columns = rng.choice(((2, 3), (3, 2), (3, 3)))
    cells = [asked] * count + [rng.choice(others) for _ in range(rng.randint(0, rows * columns - count))]
    cells += [""] * (rows * columns - len(cells))
    rng.shuffle(cells)
    image = _grid(cells, columns, rng.choice(INKS) if rng.random() < 0.5 else None, rng)
    data = {"data": {"cells": cells}}
    return Item("math_count", f"How many {PLURALS[asked]}?", str(count), wear(image, rng), extra=data)


def next_item(answer: str, rng: random.Random) -> Item:
    """Five shapes of a repeating pattern and an empty place, in the manner of progressive matrices."""
    pattern = rng.choice(PATTERNS)
    others = rng.sample([shape for shape in SHAPES if shape != answer], 2)
    names = dict(zip(sorted(set(pattern) - {pattern[-1]}), others, strict=False)) | {pattern[-1]: answer}
    cells = [names[letter] for letter in pattern]
    image = _grid([*cells[:-1], ""], 3, rng.choice(INKS), rng)
    _frame_last(image)
    return Item("math_next", "Which shape comes next?", answer, wear(image, rng), extra={"data": {"cells": cells}})


def _grid(cells: Sequence[str], columns: int, color: str | None, rng: random.Random) -> Image.Image:
    """Shapes in cells of 20 px; one color for all, or one each."""
    side, rows = 20, len(cells) // columns
    paper = (rng.randint(225, 255), rng.randint(225, 255), rng.randint(225, 255))
    image = Image.new("RGB", (columns * side + 4, rows * side + 4), paper)
    for place, name in enumerate(cells):
        if name:
            sticker = shape_sticker(name, color or rng.choice(INKS), rng.choice((12, 14, 16)))
            x = 2 + place % columns * side + (side - sticker.width) // 2 + rng.randint(-1, 1)
            y = 2 + place // columns * side + (side - sticker.height) // 2 + rng.randint(-1, 1)
            image.paste(sticker, (x, y), sticker)
    return image


def _frame_last(image: Image.Image) -> None:
    right, bottom = image.width - 3, image.height - 3
    ImageDraw.Draw(image).rectangle((right - 18, bottom - 18, right, bottom), outline=(60, 60, 60))


def dots_item(answer: int, rng: random.Random) -> Item:
    """Three boxes whose dots rise or fall by one, and an empty box; ``answer`` dots belong into it."""
    step = rng.choice([step for step in (1, -1) if 1 <= answer - 3 * step <= 6])
    counts = [answer - step * back for back in (3, 2, 1)]
    side, gap = rng.randint(23, 26), rng.randint(2, 4)
    ink, paper = colors(rng, inverted=0.1)
    color = vivid(rng, paper)
    image = Image.new("RGB", (2 * side + 3 * gap, 2 * side + 3 * gap - 1), paper)
    draw = ImageDraw.Draw(image)
    for place, count in enumerate([*counts, 0]):
        left, top = gap + place % 2 * (side + gap), gap + place // 2 * (side + gap)
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=ink)
        for spot in rng.sample(range(9), count):
            x, y = left + side * (2 * (spot % 3) + 1) // 6, top + side * (2 * (spot // 3) + 1) // 6
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    data = {"data": {"counts": counts}}
    return Item("math_dots", "How many dots come next?", str(answer), wear(image, rng), extra=data)


def letters_item(task: str, winner: int, fonts: Sequence[Path], rng: random.Random) -> Item:
    """Four bars A to D; bar ``winner`` is the highest or lowest by a clear margin."""
    values = rng.sample(range(4, 10), 4)
    values[winner] = 12 if task == "math_high" else 2
    image, chars = bar_chart("ABCD", values, load_font(rng.choice(fonts), rng.randint(9, 11)), rng, max_width=64)
    kind = "highest" if task == "math_high" else "lowest"
    question = f"Which bar is {kind}, A, B, C or D?"
    return Item(task, question, "ABCD"[winner], wear(image, rng), chars, {"data": {"values": values}})
