"""Find the value of a key on a form."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import char_accuracy, exact_match

NAME = "mini-kv"
SUITE = "mini"
CATEGORY = "text_rich"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "kv.jsonl"
MAX_NEW_TOKENS = 40
CHECKS = [("12 May", "12 may", 1.0), ("12 Mai", "12 May", 0.0), ("", "x", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match, and how many characters are right."""
    return {"exact_match": exact_match(answer, texts(item)), "char_accuracy": char_accuracy(answer, texts(item))}
