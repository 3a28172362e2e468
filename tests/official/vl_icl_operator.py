"""Results 6, 2, 8 and 9 of one picture."""

from __future__ import annotations

from pathlib import Path

from official._vl_icl import operators

ALWAYS = {"": 0.0, "8": 25.0, "The answer is 6": 25.0, "+": 0.0}


def write(folder: Path) -> None:
    operators(folder, "operator_induction", 1)
