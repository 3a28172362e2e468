"""Find the value of a key on a form."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import char_accuracy, exact_match

NAME = "mini-kv"
CATEGORY = "text_rich"
METRIC = "exact_match"
FILE = "kv.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 40
COUNTS_IN_AVERAGE = True
CHECKS = [("12 May", "12 may", 1.0), ("12 Mai", "12 May", 0.0), ("", "x", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match, and how many characters are right."""
    return {"exact_match": exact_match(answer, texts(item)), "char_accuracy": char_accuracy(answer, texts(item))}
