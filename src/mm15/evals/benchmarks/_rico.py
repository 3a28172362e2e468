"""What the benchmarks on RICO's Android screens share: the annotations of a split, and elements as boxes.

Files of a benchmark: its CSV, the ``split/`` lists where it has them, and RICO's ``unique_uis`` as
``combined/<id>.jpg`` and, for elements, ``combined/<id>.json`` (``--set NAME.screens=``). ``datasets.rico_ui`` reads
them; see there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, RegionPart
from mm15.datasets import rico_ui
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item
from mm15.io.rows import Rows

Task = Literal["screen2words", "widget-captioning", "taperception"]


class ScreenOptions(Strict):
    """What may be set under ``--set NAME.``"""

    screens: str = "combined"
    """Folder of screens, below the benchmark's own."""


class ElementOptions(ScreenOptions):
    """What may be set under ``--set NAME.`` where questions are about elements."""

    unplaced: Literal["refuse", "leave-out"] = "refuse"
    """Questions about elements that the view hierarchy does not hold, or that have no area: stop, or go on without
    them and say how many they are. A number without them is not the official one."""


def split_rows(task: Task, about: tuple[str, ...], path: Path) -> Rows:
    """The rows of the test split; texts about the same thing, named by the columns ``about``, are one row.

    Raises:
        ConfigError: see ``rico_ui.open_rows``.
    """
    rows = rico_ui.open_rows(path, rico_ui.Options.model_validate({"task": task, "split": "test"}))
    return Joined(rows, about, "summary" if task == "screen2words" else "caption") if about else rows


class Joined:
    """Rows that agree in the columns ``about`` as one, with the texts of all as ``references``."""

    def __init__(self, rows: Rows, about: tuple[str, ...], text: str) -> None:
        self._rows, self._text = rows, text
        found: dict[tuple[str, ...], list[int]] = {}
        for number in range(len(rows)):
            row = rows.row(number)
            found.setdefault(tuple(row[name] for name in about), []).append(number)
        self._numbers = list(found.values())

    def __len__(self) -> int:
        return len(self._numbers)

    def row(self, row: int, /) -> dict[str, Any]:
        """The first of the rows, with all texts that are not empty."""
        said = [self._rows.row(number)[self._text] for number in self._numbers[row]]
        references = [text.strip() for text in said if text.strip()]
        return {**self._rows.row(self._numbers[row][0]), self._text: next(iter(references), ""),
                "references": references}  # fmt: skip

    def address(self, row: int, /) -> str:
        """Where the first of the rows lies."""
        return self._rows.address(self._numbers[row][0])


Make = Callable[[ImagePart, RegionPart, str, dict[str, Any], RowAt], Item]
"""(screen, element, the training answer, row, place) → item."""


def element_items(files: Files, release: Release, task: Task, make: Make) -> list[Item]:
    """An item for every element that can be placed; see ``ElementOptions.unplaced``."""
    options, left_out = files.options, []
    placing = rico_ui.Options.model_validate({"task": task, "split": "test", "screens": options.screens})

    def item(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
        try:
            sample = rico_ui.to_samples(row, replace(at, options=placing))[0]
        except SkipSample as error:
            if options.unplaced == "refuse":
                raise SkipSample(f"{error.reason}; --set {files.benchmark}.unplaced=leave-out goes on without such "
                                 "questions") from error  # fmt: skip
            left_out.append(error.reason)
            return []
        region = next(part for part in sample.messages[0].parts if isinstance(part, RegionPart))
        return [make(sample.images[0], region, sample.messages[-1].text, row, at)]

    items = files.items((release,), item)
    if left_out:
        warnings.warn(f"{files.benchmark}: {len(left_out)} questions left out, the first: {left_out[0]}", stacklevel=2)
    return items


def opener(task: Task, *about: str) -> Callable[[Path], Rows]:
    """``Release.open`` of a task."""
    return partial(split_rows, task, about)
