"""Values and labels of charts; relaxed accuracy, as ChartQA is scored, but labels, years among them, exactly."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import exact_match, relaxed_accuracy

NAME = "mini-charts"
SUITE = "mini"
CATEGORY = "text_rich"
METRIC = "relaxed_accuracy"
SPLIT = "heldout"
FILE = "charts.jsonl"
MAX_NEW_TOKENS = 32
LABELS = ("chart_high", "chart_low")
"""Tasks whose answer is a label. Within 5 % any year of a table would be right: one constant answer scored 27 %."""
CHECKS = [("105", "100", 1.0), ("105.01", "100", 0.0), ("12", "12%", 0.0), ("Oslo", "oslo", 1.0), ("", "3", 0.0)]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """Numbers within 5 %, labels exactly; and exact match beside it."""
    exact = exact_match(answer, texts(item))
    relaxed = exact if item.task in LABELS else relaxed_accuracy(answer, texts(item))
    return {"relaxed_accuracy": relaxed, "exact_match": exact}
