"""Questions about pages of real documents; ANLS, as DocVQA is scored."""

from __future__ import annotations

from mm15.evals.benchmark import Item, answer_text, common_answers, texts
from mm15.evals.scoring import anls, exact_match

NAME = "mini-pages"
CATEGORY = "text_rich"
METRIC = "anls"
FILE = "pages.jsonl"
FORMAT = "llava"
MAX_NEW_TOKENS = 128
COUNTS_IN_AVERAGE = True
CHECKS = [("Annual Report", "annual  report", 1.0), ("abxy", "abcd", 0.5), ("axyz", "abcd", 0.0), ("", "a", 0.0)]

references = answer_text
constants = common_answers


def score(answer: str, item: Item) -> dict[str, float]:
    """ANLS, and exact match beside it."""
    return {"anls": anls(answer, texts(item)), "exact_match": exact_match(answer, texts(item))}
