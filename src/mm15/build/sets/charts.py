"""CSV tables → charts and pictures of tables, questions with exact answers, and the code of the charts.

Formats and their data sets, n rows of each:

- ``llava``: ``charts`` (text_rich: read off), ``charts-math`` (math: compare, compute, trends), ``tables`` (text_rich),
  ``charts-code`` (code: the chart as matplotlib code).
- ``docowl``: ``charts-ocr`` (a chart or table as Markdown, as in DocStruct4M).

Bars stand or lie, lines run where labels are times. Rows keep what was drawn (``data``) and where (``marks``), so every
answer can be computed again. Tables need a head line, a column of numbers and three rows.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mm15.base.errors import DataError, SkipSample
from mm15.base.rng import python_rng
from mm15.build._chart_items import (
    Turn,
    cell_turns,
    chart_cells,
    chart_code,
    code_data,
    markdown,
    math_turns,
    read_turns,
)
from mm15.build._csv_tables import MAX_LABEL, Series, label_column, number_columns, pick_series, read_csv
from mm15.build._plot import DoesNotFit, Drawn, Kind, draw_cells, plot
from mm15.build._sets import Side
from mm15.build._typeset import wear
from mm15.build.canvas import llava_row
from mm15.build.materials import Table

FORMATS = ("llava", "docowl")
N = 1000
SIZE = 512
TRIES = 60
"""Draws of tables, typefaces and layouts for one picture."""
SETS = {
    "charts": ("llava", "llava", "text_rich"),
    "charts-math": ("llava", "llava", "math"),
    "tables": ("llava", "llava", "text_rich"),
    "charts-code": ("llava", "llava", "code"),
    "charts-ocr": ("docowl", "docowl-jsonl", "ocr"),
}
"""Data set → what asks for it, its format and category."""
MAX_CELL = 24


def build(side: Side) -> None:
    """Write the data sets of one side."""
    tables = tables_of(side)
    fonts = side.materials.fonts(side.split)
    (side.out / "images").mkdir()
    for name, (form, format, category) in SETS.items():
        if side.wants(form) and tables:
            work = partial(
                make_row, name=name, out=side.out, tables=tables, fonts=fonts, seed=side.seed, size=side.request.size
            )
            rows = [row for row in side.each(work, range(side.n)) if row is not None]
            side.drop_all([(f"no {name} that fits into {side.request.size} px was found", name)] * (side.n - len(rows)))
            side.add(name, rows, format, category)


def tables_of(side: Side) -> list[Table]:
    """Tables of this side; files and rows that cannot be used are dropped by name."""
    if not side.request.inputs:
        return [table for table in side.materials.tables(side.split) if number_columns(table)]
    tables = []
    for file in side.files(".csv", ".tsv"):
        try:
            table, dropped = read_csv(file.path)
        except SkipSample as skip:
            side.drop(skip.reason, skip.address)
            continue
        tables.append(table)
        side.drop_all(dropped)
    return tables


def make_row(
    index: int, name: str, out: Path, tables: list[Table], fonts: list[Path], seed: int, size: int
) -> dict[str, Any] | None:
    """Row ``index`` of a data set: a function of its arguments alone. None where no table offers what fits."""
    rng = python_rng(seed, "charts", name, index)
    for _ in range(TRIES):
        table, font = rng.choice(tables), rng.choice(fonts)
        as_table = name == "tables" or (name == "charts-ocr" and index % 2 == 1)
        try:
            made = _table(table, size, font, rng) if as_table else _chart(table, name, size, font, rng)
        except DoesNotFit:
            continue
        if made is not None:
            break
    else:
        return None
    drawn, turns, data = made
    picture = wear(drawn.image, rng)
    file = f"images/{name}-{index:06d}.png"
    picture.save(out / file, compress_level=6)
    told = {"data": data, "marks": drawn.marks, "chars": drawn.chars}
    if name == "charts-ocr":
        return _docowl(file, picture, data["cells"]) | told
    row = llava_row(f"{name}/{index:06d}", turns[0][0], file, [picture], [turn[1:] for turn in turns])
    return row | {"tasks": [task for task, _, _ in turns]} | told


Made = tuple[Drawn, list[Turn], dict[str, Any]]


def _chart(table: Table, name: str, size: int, font: Path, rng: Any) -> Made | None:
    series = pick_series(table, rng, rng.choice((1, 1, 1, 2, 3)))
    if series is None:
        return None
    kinds: tuple[Kind, ...] = ("bar", "barh", "line", "line") if series.ordered else ("bar", "bar", "barh")
    kind = rng.choice(kinds)
    # A chart as a table or as code is told in full, so its values must stand there.
    numbers = name in ("charts-ocr", "charts-code") or rng.random() < 0.7
    drawn = plot(series, kind, size, font, rng, numbers)
    turns: list[Turn] = []
    if name == "charts":
        turns = read_turns(series, kind, numbers, rng)[:3]
    elif name == "charts-math":
        turns = math_turns(series, numbers, rng)[:3]
    elif name == "charts-code":
        turns = [("chart_code", "Write matplotlib code that draws this chart.", _code(series, kind, drawn))]
    if not turns and name != "charts-ocr":
        return None
    data = {"kind": kind, "title": series.title, "cells": chart_cells(series), "numbers": numbers}
    return drawn, turns, data | {"ordered": series.ordered}


def _code(series: Series, kind: Kind, drawn: Drawn) -> str:
    """The code, checked against what was drawn by reading its lists back."""
    code = chart_code(series, kind, drawn.colors)
    said = code_data(code)
    wanted = [[float(cell) for cell in cells] for cells in series.values.values()]
    if said["labels"] != list(series.labels) or [said[f"values{k}"] for k in range(len(wanted))] != wanted:
        raise DataError(f"the code of '{series.title}' does not say what was drawn")
    return code


def _table(table: Table, size: int, font: Path, rng: Any) -> Made | None:
    label = label_column(table)
    others = [column for column in range(len(table.columns)) if column != label]
    columns = [label, *sorted(rng.sample(others, rng.randint(1, min(5, len(others)))))]
    usable = {
        row[label]: [row[column] for column in columns]
        for row in table.rows
        if 0 < len(row[label]) <= MAX_LABEL and all(0 < len(row[column]) <= MAX_CELL for column in columns)
    }
    if len(usable) < 2:
        return None
    places = sorted(rng.sample(range(len(usable)), rng.randint(2, min(9, len(usable)))))
    rows = list(usable.values())
    cells = [[table.columns[column] for column in columns], *(rows[place] for place in places)]
    numeric = [columns.index(column) for column in number_columns(table) if column in columns]
    turns = cell_turns(cells, numeric, rng)[:3]
    return draw_cells(cells, size, font, rng), turns, {"kind": "table", "cells": cells}


def _docowl(file: str, picture: Image.Image, cells: list[list[str]]) -> dict[str, Any]:
    return {
        "image": [file],
        "messages": [
            {"role": "user", "content": "<|image|>Convert the picture to Markdown syntax."},
            {"role": "assistant", "content": f"<md> {markdown(cells)} </md>"},
        ],
        "task_name": "chart_parse",
        "dataset_name": "charts",
        "width": picture.width,
        "height": picture.height,
    }
