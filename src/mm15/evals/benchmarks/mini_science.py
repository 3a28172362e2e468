"""Questions of school science with lettered options."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import multiple_choice

NAME = "mini-science"
CATEGORY = "knowledge"
METRIC = "accuracy"
FILE = "science.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 24
COUNTS_IN_AVERAGE = True
CHECKS = [
    ("B", "B", 1.0),
    ("a moon", "A", 0.0),
    ("(B) the moon", "B", 1.0),
    ("The answer is C.", "C", 1.0),
    ("", "A", 0.0),
]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter of the right option."""
    return {"accuracy": multiple_choice(answer, texts(item))}
