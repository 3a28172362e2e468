"""screen2words (arXiv 2108.03353), test split: what an Android screen is for, in a phrase, by CIDEr.

Files: ``screen_summaries.csv`` (``screenId, summary``), ``split/test_screens.txt`` and RICO's ``combined/<id>.jpg``;
five summaries per screen are the references. The question is one of those that we train with; that of MM1.5 is not
known.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks import _captions
from mm15.evals.benchmarks._rico import ScreenOptions, opener
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "screen2words"
SUITE = "ui"
CATEGORY = "ui"
METRIC = _captions.METRIC
SPLIT = "test"
MAX_NEW_TOKENS = 64
ASKED = "\nSummarize this screen in a phrase."
RELEASES = (Release(("screen_summaries.csv",), ("screen", "references"), 4310, open=opener("screen2words", "screen")),)
CHECKS = [
    ("page shows a login form", "page shows a login form", 1.0),
    ("A login form", check_item(["a login form", "page shows a login form"]), 1.0),
    ("a list of songs", "page shows a login form", 0.0),
    ("", "page shows a login form", 0.0),
]
Options = ScreenOptions


def read(files: Files) -> list[Item]:
    """One item per screen."""

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        screen = str(row["screen"]).strip()
        if not screen.isalnum():
            raise SkipSample(f"{screen!r} is not the number of a screen")
        if not row["references"]:
            raise SkipSample(f"screen {screen} has no summary")
        return question(NAME, screen, (at.image(f"{files.options.screens}/{screen}.jpg"), ASKED), row["references"])

    return files.items(RELEASES, item)


score = _captions.score
score_all = _captions.score_all
combine = _captions.combine
