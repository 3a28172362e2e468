"""Two examples, then a question that only they answer: names invented for it, or the sign of a sum. By task."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match

NAME = "mini-in-context"
SUITE = "mini"
CATEGORY = "in_context"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "in_context.jsonl"
MAX_NEW_TOKENS = 16
CHECKS = [("tazu", "tazu", 1.0), ("Tazu.", "tazu", 1.0), ("a tazu", "tazu", 0.0), ("dog", "tazu", 0.0), ("", "7", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match; and ``repeated``, whether the answer is that of an example: of two names one is right by chance."""
    values = {"exact_match": exact_match(answer, texts(item))}
    told = item.sample.meta.get("told")
    return values | ({"repeated": exact_match(answer, told)} if told else {})
