"""Two splits; the left box is right in 2 of 3 expressions of testA and in 1 of 2 of testB."""

from __future__ import annotations

from pathlib import Path

from official._refcoco import LEFT, RIGHT, write_split

ALWAYS = {
    "": 0.0,
    "it [100, 100, 500, 700]": 100 * (2 / 3 + 1 / 2) / 2,
    "[600, 200, 900, 800]": 100 * (1 / 3 + 1 / 2) / 2,
    "[0, 0, 999, 999]": 0.0,
    "[0.1, 0.1, 0.5, 0.7]": 0.0,
}


def write(folder: Path) -> None:
    write_split(folder, "testA", [(LEFT, ["the left man", "man, in red"]), (RIGHT, ["the other man"])])
    write_split(folder, "testB", [(LEFT, ["the cup"]), (RIGHT, ["the table"])])
