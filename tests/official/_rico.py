"""RICO's screens and view hierarchies, tiny: 72 x 128 pixels stand for the canvas of 1440 x 2560."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from official_fixture import save_picture


def write_screen(folder: Path, screen: int, size: tuple[int, int] = (72, 128)) -> None:
    """A picture, and a root with a frame that holds two elements, ``<screen>a`` above ``<screen>b``."""
    save_picture(folder / "combined" / f"{screen}.jpg", screen, *size)
    children: list[dict[str, Any]] = [
        {"pointer": f"{screen}a", "bounds": [144, 256, 720, 1536]},
        {"pointer": f"{screen}b", "bounds": [0, 1600, 1440, 2560]},
    ]
    frame = {"pointer": f"{screen}f", "bounds": [0, 0, 1440, 2560], "children": children}
    root = {"pointer": f"{screen}r", "bounds": [0, 0, 1440, 2560], "children": [frame]}
    path = folder / "combined" / f"{screen}.json"
    path.write_text(json.dumps({"activity": {"root": root}}), encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table with a header line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows])


def write_split(path: Path, screens: Sequence[int]) -> None:
    """The list of a split, one screen a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{screen}\n" for screen in screens), encoding="utf-8")
