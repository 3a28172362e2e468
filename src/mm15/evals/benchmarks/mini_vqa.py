"""Questions about pictures: names, colours, counts, places, yes or no. Sub-scores by the row's ``task``."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match

NAME = "mini-vqa"
SUITE = "mini"
CATEGORY = "general"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "general.jsonl"
MAX_NEW_TOKENS = 32
CHECKS = [("Two.", "two", 1.0), ("two cats", "two", 0.0), ("", "two", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
