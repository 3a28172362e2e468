"""Tables of the user's CSV files, and the series of numbers in them that a chart can show."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from mm15.base.errors import SkipSample
from mm15.build.materials import Table
from mm15.text.legible import sayable

DELIMITERS = ",;\t|"
NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?")
MAX_ROWS = 5000
"""Rows of a longer table that are used: its first."""
MAX_LABEL = 20
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def read_csv(path: Path) -> tuple[Table, list[tuple[str, str]]]:
    """A table, and the rows that were left out as (reason, file:line).

    The separator is the one of comma, semicolon, tab and bar that cuts the header into most cells.

    Raises:
        SkipSample: not UTF-8, no header with two different names, no column of numbers, or under three usable rows.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise SkipSample("not readable as UTF-8 text", str(path)) from error
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    dropped: list[tuple[str, str]] = []
    try:
        for cells in reader:
            row = tuple(" ".join(cell.split()) for cell in cells)
            where = f"{path}:{reader.line_num}"
            if not any(row):
                continue
            if not columns:
                columns = row
            elif len(row) != len(columns):
                dropped.append(("a row with more or fewer cells than the header", where))
            elif not all(not cell or sayable(cell) for cell in row):
                dropped.append(("a cell that is no plain text", where))
            elif len(rows) < MAX_ROWS:
                rows.append(row)
    except csv.Error as error:
        raise SkipSample(f"not a CSV table ({error})", f"{path}:{reader.line_num}") from error
    if len(columns) < 2 or len(set(columns)) < len(columns) or not all(map(sayable, columns)):
        raise SkipSample("no header with two or more different names", str(path))
    if len(rows) < 3:
        raise SkipSample("fewer than three rows that can be used", str(path))
    table = Table(path.stem.replace("-", " ").replace("_", " "), columns, tuple(rows))
    if not sayable(table.name) or not number_columns(table):
        raise SkipSample("no column of plain numbers beside the names of the rows", str(path))
    return table, dropped


def number_columns(table: Table) -> list[int]:
    """Columns with numbers only (a cell in ten may be empty), that of the labels left out."""
    label = label_column(table)
    found = []
    for column in range(len(table.columns)):
        cells = [row[column] for row in table.rows if row[column]]
        enough = len(cells) >= max(3, 0.9 * len(table.rows))
        if column != label and enough and all(NUMBER.fullmatch(cell) for cell in cells):
            found.append(column)
    return found


def label_column(table: Table) -> int:
    """The column that names the rows: the first with different short cells that are times or no numbers, else the one
    with most different texts, else the first."""
    counts = []
    for column in range(len(table.columns)):
        cells = [row[column] for row in table.rows]
        texts = [cell for cell in cells if cell and len(cell) <= MAX_LABEL and not NUMBER.fullmatch(cell)]
        if len(set(cells)) == len(cells) and (len(texts) == len(cells) or is_ordered(cells)):
            return column
        counts.append(len(set(texts)) if len(texts) > len(cells) / 2 else 0)
    return counts.index(max(counts))


def time_key(label: str) -> tuple[int, int, int] | None:
    """(year, month, day) of a year, a month, "Apr 1854" or "2001-04-30"; None of anything else."""
    if match := re.fullmatch(r"(1[4-9]\d\d|20\d\d)(?:[-/](\d\d))?(?:[-/](\d\d))?", label):
        return int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if (match := re.fullmatch(r"([A-Za-z]{3,9})\.?(?: (\d{4}))?", label)) and match[1][:3].lower() in MONTHS:
        return int(match[2] or 0), MONTHS.index(match[1][:3].lower()) + 1, 0
    return None


def is_ordered(labels: Sequence[str]) -> bool:
    """Whether the labels are times, one after the other."""
    keys = [time_key(label) for label in labels]
    known = [key for key in keys if key is not None]
    return len(known) == len(labels) and all(a < b for a, b in pairwise(known))


@dataclass(frozen=True, slots=True)
class Series:
    """Some rows and columns of a table that one chart shows. Cells are text as in the file."""

    title: str
    label_name: str
    labels: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    """Column name → cells."""
    ordered: bool
    """The labels are times, one after the other."""

    def numbers(self, name: str) -> list[Decimal]:
        """The cells of a column as exact numbers."""
        return [Decimal(cell) for cell in self.values[name]]


def pick_series(table: Table, rng: random.Random, columns: int = 1) -> Series | None:
    """Three to ten rows and up to ``columns`` columns of numbers, in the order of the table; None if a draw has none.

    Times stay together (neighbouring rows, or every second, third ...).
    """
    label = label_column(table)
    chosen = sorted(rng.sample(number_columns(table), min(columns, len(number_columns(table)))))
    usable = [
        row
        for row in table.rows
        if row[label] and len(row[label]) <= MAX_LABEL and all(row[column] for column in chosen)
    ]
    count = rng.randint(3, 10)
    if is_ordered([row[label] for row in usable]):
        step = rng.randint(1, max(1, len(usable) // count))
        start = rng.randrange(max(1, len(usable) - step * (count - 1)))
        usable = usable[start::step][:count]
    else:
        places = sorted(rng.sample(range(len(usable)), min(count, len(usable))))
        usable = list({row[label]: row for row in (usable[place] for place in places)}.values())
    if len(usable) < 3:
        return None
    labels = tuple(row[label] for row in usable)
    values = {table.columns[column]: tuple(row[column] for row in usable) for column in chosen}
    if any(len(set(cells)) == 1 for cells in values.values()):
        return None
    return Series(table.name.capitalize(), table.columns[label], labels, values, is_ordered(labels))
