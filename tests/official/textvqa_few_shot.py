"""TextVQA with its training split, as the parquet release has them."""

from __future__ import annotations

from pathlib import Path

from official import textvqa
from official._shared import ANSWERS, DEMONSTRATIONS

ALWAYS = {"": 0.0, "yes": 40.0, "2. It is": 25.0, "A": 0.0}


def write(folder: Path) -> None:
    textvqa.write(folder, right=ANSWERS)
    textvqa.write(folder, "train", [["acer"] * 10] * DEMONSTRATIONS)
