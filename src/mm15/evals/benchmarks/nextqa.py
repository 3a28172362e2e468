"""NExT-QA (arXiv 2105.08276), multiple-choice test split: choices about why and how things happen, by accuracy.

Files: the parquet release (``MC/``) or the authors' ``test.csv``, both with ``video, question, answer, qid, type,
a0..a4``; clips in ``NExTVideo/`` or ``videos/``, by number or as ``map_vid_vidorID.json`` says. Options and reading of
the letter as lmms-eval ``nextqa_mc_test``.
"""

from __future__ import annotations

from mm15.evals.benchmarks._next_qa import COLUMNS, read_choices
from mm15.evals.benchmarks._options import score_option
from mm15.evals.files import Files, Release
from mm15.evals.items import Item, check_item

NAME = "nextqa"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
ROWS = 8564
_TOY = check_item("C", options=["dog", "food", "toy", "song", "dad"])
CHECKS = [("C", _TOY, 1.0), ("C. toy", _TOY, 1.0), ("A", _TOY, 0.0), ("toy", _TOY, 0.0)]

RELEASES = (
    Release(("MC/test*.parquet", "test*.parquet"), ("video", *COLUMNS), ROWS),
    Release(("test.csv", "mc/test.csv", "nextqa/test.csv"), ("video", *COLUMNS), ROWS),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the type."""
    return read_choices(files, RELEASES, "video")


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as MMMU's parser reads it; an answer that names none is wrong, where lmms-eval draws one."""
    return score_option(answer, item, "mmmu")
