"""Bar charts and small tables of real numbers, with questions whose answers follow from what is drawn.

A row (llava)::

    {"id": "charts/000001", "image": "images/charts/000001.png", "width": 140, "height": 84, "conversations":
     [{"from": "human", "value": "<image>\\nWhich bar is tallest?"}, {"from": "gpt", "value": "Morris"}],
     "task": "chart_high", "chars": [...], "data": {"labels": ["Morris", "Duluth"], "values": [35, 26]}}

``data`` holds what was drawn. Training writes ``charts`` (category text_rich: look up and read) and ``charts-math``
(category math: compare and count); held out, both are mixed in ``charts``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mm15.base.errors import DataError
from mm15.base.rng import python_rng
from mm15.build._bars import bar_chart
from mm15.build._items import Item, write_items
from mm15.build._typeset import CharBox, colors, draw_text, fit_font, load_font, typefaces, wear
from mm15.build.canvas import BuildReport
from mm15.build.materials import Materials, Split, Table

READ_TASKS = ("chart_high", "chart_low", "chart_value", "table_value")
MATH_TASKS = ("chart_more", "chart_count")


def build(out: Path, split: Split, n: int, seed: int, materials: Materials, workers: int = 2) -> list[BuildReport]:
    """Write ``n`` rows to ``charts.jsonl`` and, for training, ``n`` more to ``charts-math.jsonl``.

    Raises:
        DataError: the tables of this side offer no chart of 2 to 4 bars.
    """
    files = {"charts": READ_TASKS, "charts-math": MATH_TASKS}
    if split == "heldout":
        files = {"charts": READ_TASKS + MATH_TASKS}
    make_item = partial(make, split=split, seed=seed, materials=materials)
    return [
        write_items(out, name, n, partial(make_item, tasks=tasks), workers=workers) for name, tasks in files.items()
    ]


def make(index: int, tasks: Sequence[str], split: Split, seed: int, materials: Materials) -> Item:
    """Item ``index``: a function of its arguments alone. Tasks and numbers of bars take turns."""
    rng = python_rng(seed, "charts", split, *tasks, index)
    task, turn = tasks[index % len(tasks)], index // len(tasks)
    tables, fonts = materials.tables(split), typefaces(materials, split)
    if task == "table_value":
        return table_item(tables, fonts, rng)
    # The few labels of the tables would be learned by heart: half of the training charts carry other words.
    words = materials.words(split) if split == "train" and rng.random() < 0.5 else []
    return bar_item(task, 2 + turn % 3, tables, fonts, words, rng)


def pick_series(tables: Sequence[Table], count: int, rng: random.Random) -> tuple[list[str], list[int]] | None:
    """``count`` labelled numbers that stand together in a real table, or None if this draw finds none.

    Either some rows of one column, or some columns of one row. Values are scaled by a power of ten and rounded so that
    the largest has two digits; the largest and the smallest stand clear of the others by an eighth of the largest.
    """
    table = rng.choice(tables)
    if rng.random() < 0.5:
        column = rng.randrange(1, len(table.columns))
        cells = [(row[0], row[column]) for row in table.rows]
    else:
        row = rng.choice(table.rows)
        cells = list(zip(table.columns[1:], row[1:], strict=True))
    cells = [(label, float(cell)) for label, cell in cells if _is_label(label) and _is_positive(cell)]
    if len(cells) < count:
        return None
    labels, numbers = zip(*rng.sample(cells, count), strict=True)
    scale = 1.0
    while max(numbers) * scale >= 99.5:
        scale /= 10
    while max(numbers) * scale < 9.5:
        scale *= 10
    values = [round(number * scale) for number in numbers]
    ranked, clear = sorted(values), max(1.0, max(values) / 8)
    if ranked[0] < 1 or ranked[1] - ranked[0] < clear or ranked[-1] - ranked[-2] < clear or len(set(labels)) < count:
        return None
    return list(labels), values


def _is_label(text: str) -> bool:
    """Short, and not to be mistaken for a value: a word, a name or a year."""
    return 2 <= len(text) <= 9 and not (text.isdigit() and len(text) != 4)


def _is_positive(cell: str) -> bool:
    try:
        return float(cell) > 0
    except ValueError:
        return False


def bar_item(
    task: str, count: int, tables: Sequence[Table], fonts: Sequence[Path], words: Sequence[str], rng: random.Random
) -> Item:
    """A chart of ``count`` bars and one question about it. ``words``, if any, replace the labels of the table.

    Raises:
        DataError: no table offers that many bars.
    """
    for _ in range(1000):
        series = pick_series(tables, count, rng)
        font = load_font(rng.choice(fonts), rng.randint(9, 11))
        if series is None:
            continue
        labels, values = series
        if words:
            short = (rng.choice(words) for _ in range(200))
            labels = list(dict.fromkeys(word for word in short if len(word) * count <= 20))[:count]
        if len(labels) == count and max(map(font.getlength, labels)) * count <= 88:
            break
    else:
        names = [table.name for table in tables]
        raise DataError(
            f"no table offers {count} short labels with clearly different positive numbers; tables: {names}"
        )
    image, chars = bar_chart(labels, values, font, rng, numbers=task == "chart_value" or rng.random() < 0.6)
    first, second = rng.sample(range(count), 2)
    while values[first] == values[second]:
        first, second = rng.sample(range(count), 2)
    more = "yes" if values[first] > values[second] else "no"
    question, answer = {
        "chart_high": ("Which bar is tallest?", labels[values.index(max(values))]),
        "chart_low": ("Which bar is lowest?", labels[values.index(min(values))]),
        "chart_value": (f"What is the value of {labels[first]}?", str(values[first])),
        "chart_more": (f"Is {labels[first]} more than {labels[second]}?", more),
        "chart_count": ("How many bars are there?", str(count)),
    }[task]
    return Item(task, question, answer, wear(image, rng), chars, {"data": {"labels": labels, "values": values}})


def table_item(tables: Sequence[Table], fonts: Sequence[Path], rng: random.Random) -> Item:
    """Two columns and 2-4 rows of a real table, cells as printed; asks for one of them.

    Raises:
        DataError: no table has two rows with short cells.
    """
    for _ in range(1000):
        table = rng.choice(tables)
        column = rng.randrange(1, len(table.columns))
        usable = {row[0]: row[column] for row in table.rows if _is_label(row[0]) and 0 < len(row[column]) <= 6}
        if len(usable) >= 2:
            break
    else:
        raise DataError(f"no table has two rows with short cells; tables: {[table.name for table in tables]}")
    labels = rng.sample(sorted(usable), min(rng.randint(2, 4), len(usable)))
    cells = [(table.columns[0], table.columns[column]), *((label, usable[label]) for label in labels)]
    asked = rng.choice(labels)
    widest = [max(column, key=len) for column in zip(*cells, strict=True)]
    font = fit_font(rng.choice(fonts), rng.randint(9, 11), ["".join(widest)], 100)
    image, chars = _draw_table(cells, font, rng)
    question = f"What does the table say for {asked}?"
    return Item("table_value", question, usable[asked], wear(image, rng), chars, {"data": {"cells": cells}})


def _draw_table(
    cells: Sequence[tuple[str, str]], font: ImageFont.FreeTypeFont, rng: random.Random
) -> tuple[Image.Image, list[CharBox]]:
    ink, paper = colors(rng)
    ascent, descent = font.getmetrics()
    height = ascent + descent + rng.randint(1, 3)
    widths = [round(max(font.getlength(row[column]) for row in cells)) + rng.randint(6, 12) for column in (0, 1)]
    image = Image.new("RGB", (sum(widths) + 7, height * len(cells) + 7), paper)
    draw = ImageDraw.Draw(image)
    chars: list[CharBox] = []
    for index, row in enumerate(cells):
        baseline = 3 + index * height + ascent
        chars += draw_text(image, row[0], 6, baseline, font, ink)
        chars += draw_text(image, row[1], 6 + widths[0], baseline, font, ink)
    faint = tuple((p + i) // 2 for p, i in zip(paper, ink, strict=True))
    edges = range(len(cells) + 1) if rng.random() < 0.5 else (0, 1, len(cells))
    for edge in edges:
        draw.line((3, 3 + edge * height, image.width - 4, 3 + edge * height), fill=faint)
    if rng.random() < 0.5:
        draw.line((2 + widths[0], 3, 2 + widths[0], 3 + len(cells) * height), fill=faint)
    return image, chars
