"""Questions about two pictures or more."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import exact_match

NAME = "mini-pairs"
CATEGORY = "multi_image"
METRIC = "exact_match"
FILE = "pairs.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 32
COUNTS_IN_AVERAGE = True
CHECKS = [("yes", "Yes", 1.0), ("the first", "the second", 0.0), ("", "no", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
