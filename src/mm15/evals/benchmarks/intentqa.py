"""IntentQA (ICCV 2023), test split: choices about the intents of people in clips, by accuracy.

Files: the authors' ``test.csv`` (``video_id, question, answer, qid, type, a0..a4``) with clips in ``Videos/``. Prompt
and scoring as those of NExT-QA, whose columns it has.
"""

from __future__ import annotations

from mm15.evals.benchmarks._next_qa import COLUMNS, read_choices
from mm15.evals.benchmarks._options import score_option
from mm15.evals.files import Files, Release
from mm15.evals.items import Item, check_item

NAME = "intentqa"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
_REST = check_item("A", options=["rest", "talk", "annoy", "play", "eat"])
CHECKS = [("A", _REST, 1.0), ("(A) rest", _REST, 1.0), ("B", _REST, 0.0), ("rest", _REST, 0.0)]

RELEASES = (Release(("test.csv", "IntentQA/test.csv"), ("video_id", *COLUMNS), 2134),)


def read(files: Files) -> list[Item]:
    """The questions; the task is the type: CW, CH, TP or TN."""
    return read_choices(files, RELEASES, "video_id")


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as MMMU's parser reads it."""
    return score_option(answer, item, "mmmu")
