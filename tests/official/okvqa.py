"""OK-VQA as its authors hand it out."""

from __future__ import annotations

from pathlib import Path

from official._shared import ANSWERS, DEMONSTRATIONS, toolkit

ALWAYS = {"": 0.0, "yes": 40.0, "red, and": 25.0, "A": 0.0}


def write(folder: Path) -> None:
    toolkit(folder, "", "val2014", ANSWERS)
    toolkit(folder, "", "train2014", [["red"] * 10] * DEMONSTRATIONS)
