"""Order, number, direction and change in clips, as four frames of each, given as pictures. Sub-scores by task."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match

NAME = "mini-video"
SUITE = "mini"
CATEGORY = "video"
METRIC = "exact_match"
SPLIT = "heldout"
FILE = "video.jsonl"
MAX_NEW_TOKENS = 16
CHECKS = [("Left.", "left", 1.0), ("right", "left", 0.0), ("2", "2", 1.0), ("two", "2", 0.0), ("", "0", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after ``normalise``."""
    return {"exact_match": exact_match(answer, texts(item))}
