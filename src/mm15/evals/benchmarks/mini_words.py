"""Read the word or number in a picture; typefaces and words that training never saw."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import char_accuracy, exact_match

NAME = "mini-words"
CATEGORY = "text_rich"
METRIC = "exact_match"
FILE = "words.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 40
COUNTS_IN_AVERAGE = True
CHECKS = [("Hello", "hello", 1.0), ("helo", "hello", 0.0), ("", "hello", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match, and how many characters are right."""
    return {"exact_match": exact_match(answer, texts(item)), "char_accuracy": char_accuracy(answer, texts(item))}
