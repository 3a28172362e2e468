"""Taperception: five labels of the test split, three of which say tappable (0), and one of another split.

Always yes: precision 3/5, recall 1, F1 = 2 x 0.6 / 1.6 = 75; always no: no true positive, 0.
"""

from __future__ import annotations

from pathlib import Path

from official._rico import write_csv, write_screen

LABELS = [
    (1, "1a", 0, 5, "test"),
    (1, "1b", 1, 1, "test"),
    (2, "2a", 0, 4, "test"),
    (2, "2b", 1, 0, "train"),
    (3, "3a", 0, 3, "test"),
    (3, "3b", 1, 2, "test"),
]
ALWAYS = {"": 0.0, "yes": 75.0, "No.": 0.0, "tappable": 0.0}


def write(folder: Path) -> None:
    columns = ("img_id", "object_id", "label", "raters_marked_tappable", "split")
    write_csv(folder / "rico_tap_annotations_idsonly.csv", columns, LABELS)
    for screen in (1, 2, 3):
        write_screen(folder, screen)
