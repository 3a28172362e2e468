"""Values and labels of charts; relaxed accuracy, as ChartQA is scored."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import exact_match, relaxed_accuracy

NAME = "mini-charts"
CATEGORY = "text_rich"
METRIC = "relaxed_accuracy"
FILE = "charts.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 32
COUNTS_IN_AVERAGE = True
CHECKS = [("105", "100", 1.0), ("105.01", "100", 0.0), ("12", "12%", 0.0), ("Oslo", "oslo", 1.0), ("", "3", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Numbers within 5 %, and exact match beside it."""
    return {"relaxed_accuracy": relaxed_accuracy(answer, texts(item)), "exact_match": exact_match(answer, texts(item))}
