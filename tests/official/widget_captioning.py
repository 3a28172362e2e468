"""Widget captioning: four elements of two published screens of the test split, one that was never published.

CIDEr-D by hand: see ``screen2words``. No two elements share a word.
"""

from __future__ import annotations

from pathlib import Path

from official._rico import write_csv, write_screen, write_split

CAPTIONS = [
    ("rico", 1, "0.0.0", "go back to start|return"),
    ("rico", 1, "0.0.1", "open the main menu"),
    ("nr", 7, "0.0", "never asked"),
    ("rico", 2, "0.0.0", "play"),
    ("rico", 2, "0.0.1", "search for new friends|search for new friends"),
    ("rico", 3, "0.0.1", "of another split"),
]
PERFECT = 100 * (5 + 10 + 2.5 + 10) / 4
"""One of two references; all; one of four lengths; all."""
ALWAYS = {"": 0.0, "open the main menu": 100 * 10 / 4, "Play": 100 * 2.5 / 4, "go back to start": 100 * 5 / 4}


def write(folder: Path) -> None:
    write_csv(folder / "widget_captions.csv", ("datasetId", "screenId", "nodeId", "captions"), CAPTIONS)
    write_split(folder / "split" / "test.txt", [1, 2, 7])
    for screen in (1, 2, 3):
        write_screen(folder, screen)
