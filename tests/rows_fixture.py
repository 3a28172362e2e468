"""Reading a whole data set in a test: every row as a sample or the reason why not; pictures are never square."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from mm15.base.errors import SkipSample
from mm15.base.types import Category, Region, RegionPart, Sample
from mm15.datasets._context import RowContext


def read_all(
    module: ModuleType, path: Path, root: Path, category: Category = Category.REFER_GROUND, **options: Any
) -> list[Sample | str]:
    """Every row of a set, through a pickled copy of its rows: its sample, or the reason why there is none."""
    chosen = module.Options(**options)
    rows = pickle.loads(pickle.dumps(module.open_rows(path, chosen)))
    read: list[Sample | str] = []
    for number in range(len(rows)):
        context = RowContext("set", category, f"set/{number}", str(root), chosen)
        try:
            (sample,) = module.to_samples(rows.row(number), context)
            read.append(sample)
        except SkipSample as skip:
            read.append(f"{rows.address(number)}: {skip.reason}")
    return read


def one(read: list[Sample | str]) -> Sample:
    assert len(read) == 1 and isinstance(read[0], Sample), read
    return read[0]


def samples(read: list[Sample | str]) -> list[Sample]:
    assert all(isinstance(sample, Sample) for sample in read), read
    return [sample for sample in read if isinstance(sample, Sample)]


def refusal(read: list[Sample | str]) -> str:
    assert len(read) == 1 and isinstance(read[0], str), read
    return read[0]


def regions(sample: Sample, turn: int | None = None) -> list[Region]:
    """The regions of a turn, or of all."""
    messages = sample.messages if turn is None else sample.messages[turn : turn + 1]
    return [part.region for message in messages for part in message.parts if isinstance(part, RegionPart)]


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def save_picture(path: Path, width: int = 90, height: int = 60, orientation: int = 1) -> Path:
    """A picture of this stored size; with an EXIF orientation where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), "orange").save(path, exif=exif)
    return path
