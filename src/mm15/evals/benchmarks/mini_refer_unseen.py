"""Name what lies in a box or at a point: objects whose names and drawings no training picture shows. Reported apart."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import exact_match

NAME = "mini-refer-unseen"
CATEGORY = "refer_ground"
METRIC = "exact_match"
FILE = "refer_unseen.jsonl"
FORMAT = "ferret-json"
MAX_NEW_TOKENS = 32
COUNTS_IN_AVERAGE = False
CHECKS = [("a red circle", "A red circle", 1.0), ("a blue circle", "a red circle", 0.0), ("", "dog", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
