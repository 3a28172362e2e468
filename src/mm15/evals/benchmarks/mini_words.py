"""Read the word or number in a picture; typefaces and words that training never saw."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import char_accuracy, exact_match

NAME = "mini-words"
SUITE = "mini"
CATEGORY = "text_rich"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "words.jsonl"
MAX_NEW_TOKENS = 40
CHECKS = [("Hello", "hello", 1.0), ("helo", "hello", 0.0), ("", "hello", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match, and how many characters are right."""
    return {"exact_match": exact_match(answer, texts(item)), "char_accuracy": char_accuracy(answer, texts(item))}
