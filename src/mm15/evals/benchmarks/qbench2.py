"""Q-Bench2 (Q-Bench+, arXiv 2402.07116), dev split: choices about the quality of two pictures, by accuracy.

Files: the parquet release (``id, image1, image2, question, option0..3, question_type, question_concern,
correct_choice``; absent options are "N/A"). Prompt and reading of the letter as lmms-eval ``qbench2_dev``; an answer
that names no option is wrong, where lmms-eval draws one.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "qbench2"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "dev"
MAX_NEW_TOKENS = 32
CONCERNS = ("global distortion", "global others", "local distortion", "local others")
_RED = check_item("B", options=["red", "blue"])
CHECKS = [("B", _RED, 1.0), ("(B) blue", _RED, 1.0), ("A", _RED, 0.0), ("C", _RED, 0.0), ("blue", _RED, 0.0)]

RELEASES = (
    Release(
        ("dev*.parquet", "data/dev*.parquet"),
        ("id", "image1", "image2", "question", "option0", "option1", "option2", "option3", "correct_choice"),
        1000,
        ("image1", "image2"),
    ),
)


def read(files: Files) -> list[Item]:
    """The questions of the dev split; the task is what they are concerned with, where the file says it."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    options = [row[f"option{k}"] for k in range(4) if row[f"option{k}"] != "N/A"]
    concern = row.get("question_concern")
    if concern is not None and concern not in range(len(CONCERNS)):
        raise SkipSample(f"'question_concern' is 0 to {len(CONCERNS) - 1}, found {concern!r}")
    asked = with_options(row["question"], options)
    parts = (at.image(row["image1"]), at.image(row["image2"]), f"\n{asked}{LETTER_HINT}")
    right = option_letter(row["correct_choice"], options)
    return question(NAME, row["id"], parts, right, CONCERNS[concern] if concern is not None else "", options=options)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as MMMU's parser reads it."""
    return score_option(answer, item, "mmmu")
