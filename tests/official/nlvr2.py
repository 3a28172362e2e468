"""NLVR2 as its authors have it: true, false, false, true."""

from __future__ import annotations

from pathlib import Path

from official._clips import save_lines
from official_fixture import save_picture

ALWAYS = {"": 0.0, "True": 50.0, "no": 50.0, "true or false": 0.0}


def write(folder: Path) -> None:
    rows = [(0, 0, "True"), (0, 1, "False"), (1, 0, "False"), (2, 0, "True")]
    save_lines(
        folder / "data" / "test1.json",
        [
            {"identifier": f"test1-{n}-{pair}-0", "sentence": "There are two dogs in all.", "label": label}
            for n, pair, label in rows
        ],
    )
    for n, pair, _ in rows:
        for k in (0, 1):
            save_picture(folder / "test1" / f"test1-{n}-{pair}-img{k}.png", n, 60 + k, 40)
