"""Questions about pages of real documents; ANLS, as DocVQA is scored."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import anls, exact_match

NAME = "mini-pages"
SUITE = "mini"
CATEGORY = "text_rich"
METRIC = "anls"
SPLIT = "heldout"
FILE = "pages.jsonl"
MAX_NEW_TOKENS = 128
CHECKS = [("Annual Report", "annual  report", 1.0), ("abxy", "abcd", 0.5), ("axyz", "abcd", 0.0), ("", "a", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """ANLS, and exact match beside it."""
    return {"anls": anls(answer, texts(item)), "exact_match": exact_match(answer, texts(item))}
