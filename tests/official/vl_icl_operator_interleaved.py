"""Results 6, 2, 8 and 9 of two pictures."""

from __future__ import annotations

from pathlib import Path

from official._vl_icl import operators

ALWAYS = {"": 0.0, "9": 25.0, "eight": 0.0}


def write(folder: Path) -> None:
    operators(folder, "operator_induction_interleaved", 2)
