"""Small problems with one short answer."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match

NAME = "mini-math"
SUITE = "mini"
CATEGORY = "knowledge"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "math.jsonl"
MAX_NEW_TOKENS = 16
CHECKS = [("12", "12", 1.0), ("12.", "12", 1.0), ("x = 12", "12", 0.0), ("", "12", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
