"""One split; the left box is right in 3 of 4 expressions."""

from __future__ import annotations

from pathlib import Path

from official._refcoco import LEFT, RIGHT, write_split

ALWAYS = {"": 0.0, "[100, 100, 500, 700]": 75.0, "[600, 200, 900, 800]": 25.0}


def write(folder: Path) -> None:
    write_split(folder, "test", [(LEFT, ["a man who sits", "a man in red"]), (RIGHT, ["a cup"]), (LEFT, ["a dog"])])
