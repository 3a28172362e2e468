"""screen2words: four screens of the test split, one of another. No two summaries share a word.

CIDEr-D by hand: a caption that is a reference has cosine 1 in each of its four n-gram lengths, so 10 x the share of the
screen's references that it equals; a caption of three words has no 4-grams, 3/4 of that. Reported: 100 times the mean.
"""

from __future__ import annotations

from pathlib import Path

from official._rico import write_csv, write_screen, write_split

SUMMARIES = {
    1: ["page shows a login form", "window asking for email"],
    2: ["list of many songs", "list of many songs"],
    3: ["weather today"],
    4: ["shopping cart contents display total"],
    9: ["never asked here at all"],
}
PERFECT = 100 * (5 + 10 + 5 + 10) / 4
"""Screen 1: one of two references. Screen 3: two of four lengths."""
ALWAYS = {
    "": 0.0,
    "Page shows a login form.": 100 * 5 / 4,
    "list of many songs": 100 * 10 / 4,
    "weather today": 100 * 5 / 4,
    "something else entirely now": 0.0,
}


def write(folder: Path) -> None:
    rows = [(screen, summary) for screen, summaries in SUMMARIES.items() for summary in summaries]
    write_csv(folder / "screen_summaries.csv", ("screenId", "summary"), rows)
    write_split(folder / "split" / "test_screens.txt", [1, 2, 3, 4])
    for screen in SUMMARIES:
        write_screen(folder, screen)
