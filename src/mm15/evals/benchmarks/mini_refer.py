"""Name what lies in a box or at a point."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match

NAME = "mini-refer"
SUITE = "mini"
CATEGORY = "refer_ground"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "refer.jsonl"
MAX_NEW_TOKENS = 32
CHECKS = [("a red circle", "A red circle", 1.0), ("a blue circle", "a red circle", 0.0), ("", "dog", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "ferret-json", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
