"""The in-context questions without their examples: what is right here was guessed. Reported apart."""

from __future__ import annotations

from mm15.evals.benchmarks.mini_in_context import CATEGORY, CHECKS, MAX_NEW_TOKENS, METRIC, SPLIT, SUITE, score
from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text

__all__ = ["CATEGORY", "CHECKS", "MAX_NEW_TOKENS", "METRIC", "SPLIT", "SUITE", "score"]

NAME = "mini-in-context-control"
FILE = "in_context_control.jsonl"


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)
