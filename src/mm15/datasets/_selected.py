"""Some rows of a source by the values of their columns: the option ``where`` of every format that has it.

``where: {dataset_name: DocVQA}`` takes the rows with this value, ``where: {dataset_name: [DocVQA, ChartQA], split: 1}``
those with one of the values in every column named. Rows that do not fit are not selected: they are counted as such, and
are no faults. Rows that cannot be read stay, to be refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipSample
from mm15.datasets._columns import value_at
from mm15.io.rows import Rows

Value = str | bool | int
Where = dict[str, Value | tuple[Value, ...]]
LOOKED_AT = 10_000
"""Rows whose values are told where none was selected."""
TOLD = 10
"""Values that are told, the most frequent first."""


class Selectable(Strict):
    """Options of a format of whose rows a recipe may take some."""

    where: Where = Field(default_factory=dict)
    """Only rows with these values: column (a path, ``datasets/_columns.py``) → a value or several. All rows are read
    once for it; what is selected is kept beside the data."""


class SelectedRows:
    """Those of ``rows`` that were chosen, in their order.

    Args:
        rows: all rows.
        chosen_R: numbers of the chosen ones among them, ascending.
    """

    def __init__(self, rows: Rows, chosen_R: np.ndarray) -> None:
        self.rows, self.chosen_R = rows, chosen_R

    def __len__(self) -> int:
        return len(self.chosen_R)

    def place(self, row: int) -> int:
        """The number of a row among all. Raises ``IndexError`` beyond the last."""
        if not 0 <= row < len(self):
            raise IndexError(f"{len(self)} rows are selected, there is no row {row}")
        return int(self.chosen_R[row])

    def address(self, row: int) -> str:
        """Where the row lies in its file."""
        return self.rows.address(self.place(row))

    def row(self, row: int) -> dict[str, Any]:
        """A row."""
        return self.rows.row(self.place(row))


def fitting(rows: Rows, where: Where, numbers: range) -> np.ndarray:
    """Which of the rows with these numbers fit, int32 0 or 1, one for each number.

    Raises:
        ConfigError: a row does not have such a column: kept rows could be rows that the recipe wants to leave out.
    """
    wanted = {path: set(_texts(value)) for path, value in where.items()}
    fits_R = np.ones(len(numbers), np.int32)
    for index, number in enumerate(numbers):
        try:
            row = rows.row(number)
        except SkipSample:
            continue
        try:
            values = [(str(value_at(row, path)), texts) for path, texts in wanted.items()]
        except SkipSample as error:
            raise ConfigError([f"{rows.address(number)}: option 'where': {error.reason}"], "sources") from error
        fits_R[index] = all(value in texts for value, texts in values)
    return fits_R


def selected(rows: Rows, fits_R: np.ndarray, where: Where) -> SelectedRows:
    """The rows that fit.

    Raises:
        ConfigError: there are none; tells the values that there are, and the nearest to the wanted one.
    """
    chosen_R = np.flatnonzero(fits_R)
    if not len(chosen_R):
        raise ConfigError([_none(rows, where)], "sources")
    return SelectedRows(rows, chosen_R)


def _texts(value: Value | tuple[Value, ...]) -> list[str]:
    return [str(one) for one in (value if isinstance(value, tuple) else (value,))]


def _none(rows: Rows, where: Mapping[str, Value | tuple[Value, ...]]) -> str:
    """Why nothing was selected, in words. Every row can be read, as one that cannot is kept."""
    looked_at = range(min(len(rows), LOOKED_AT))
    told = []
    for path, wanted in where.items():
        found = Counter(str(value_at(rows.row(number), path)) for number in looked_at)
        listed = ", ".join(f"{value[:60]} ({count})" for value, count in found.most_common(TOLD))
        more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
        hint = "" if set(_texts(wanted)) & set(found) else did_you_mean(_texts(wanted)[0], found)
        told.append(f"{path} = {' or '.join(_texts(wanted))}{hint}; found: {listed or 'no rows'}{more}")
    return f"{rows.address(0) if len(rows) else 'no rows'}: option 'where' selects no row; {'; '.join(told)}"
