"""Small problems with one short answer."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import exact_match

NAME = "mini-math"
CATEGORY = "knowledge"
METRIC = "exact_match"
FILE = "math.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 16
COUNTS_IN_AVERAGE = True
CHECKS = [("12", "12", 1.0), ("12.", "12", 1.0), ("x = 12", "12", 0.0), ("", "12", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
