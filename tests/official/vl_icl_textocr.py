"""Four queries, each with 0, 1, 2, 4 and 8 demonstrations."""

from __future__ import annotations

from pathlib import Path

from official._vl_icl import plain

ALWAYS = {"": 0.0, "exit": 50.0, "STOP. The sign": 25.0, "the exit": 0.0}


def write(folder: Path) -> None:
    plain(folder, "textocr", "What text is shown in the red box?", ["EXIT", "Stop", "exit", "Bus"])
