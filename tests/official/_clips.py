"""Clips as films and as folders of numbered frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from film_fixture import small_film
from official_fixture import save_picture


def frames(folder: Path, count: int = 3) -> None:
    """A clip of so many frames, none of them square."""
    for number in range(1, count + 1):
        save_picture(folder / f"{number:05d}.jpg", number, 40, 24)


def film(path: Path, frames: int = 6) -> None:
    """A film of 40 x 24 px."""
    small_film(path, frames)


def save_json(path: Path, value: Any) -> None:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def save_lines(path: Path, rows: Sequence[Any]) -> None:
    """A row per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def save_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A table with commas; the cells of these fixtures hold none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
