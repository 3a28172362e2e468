"""Name what lies in a box or at a point: objects whose names and drawings no training picture shows. Reported apart."""

from __future__ import annotations

from mm15.evals.benchmarks.mini_refer import CATEGORY, CHECKS, MAX_NEW_TOKENS, METRIC, SPLIT, SUITE, score
from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text

__all__ = ["CATEGORY", "CHECKS", "MAX_NEW_TOKENS", "METRIC", "SPLIT", "SUITE", "score"]

NAME = "mini-refer-unseen"
FILE = "refer_unseen.jsonl"


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "ferret-json", answer_text)
