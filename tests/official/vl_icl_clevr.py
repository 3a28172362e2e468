"""Four queries (3, 2, 3, 0), each with 0, 1, 2, 4 and 8 demonstrations: always 3 is half of them."""

from __future__ import annotations

from pathlib import Path

from official._vl_icl import plain

ALWAYS = {"": 0.0, "3": 50.0, "2\nmore": 25.0, "3 objects": 0.0}


def write(folder: Path) -> None:
    plain(folder, "clevr", "shape: sphere", ["3", "2", "3", "0"])
