"""Questions about pictures: names, colours, counts, places, yes or no. Sub-scores by the row's ``task``."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import exact_match

NAME = "mini-vqa"
CATEGORY = "general"
METRIC = "exact_match"
FILE = "general.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 32
COUNTS_IN_AVERAGE = True
CHECKS = [("Two.", "two", 1.0), ("two cats", "two", 0.0), ("", "two", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
