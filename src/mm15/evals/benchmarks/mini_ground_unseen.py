"""Find what a phrase names: objects whose names and drawings no training picture shows. Reported apart."""

from __future__ import annotations

from mm15.evals.benchmarks.mini_ground import CATEGORY, CHECKS, MAX_NEW_TOKENS, METRIC, SPLIT, SUITE, constants, score
from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_boxes

__all__ = ["CATEGORY", "CHECKS", "MAX_NEW_TOKENS", "METRIC", "SPLIT", "SUITE", "constants", "score"]

NAME = "mini-ground-unseen"
FILE = "ground_unseen.jsonl"


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "ferret-json", answer_boxes)
