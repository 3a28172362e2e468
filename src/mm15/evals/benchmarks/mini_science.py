"""Questions of school science: the letter of an option, or one short answer."""

from __future__ import annotations

from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_text, texts
from mm15.evals.scoring import choice_letter, exact_match, multiple_choice

NAME = "mini-science"
SUITE = "mini"
CATEGORY = "knowledge"
METRIC = "accuracy"
SPLIT = "heldout"
FILE = "science.jsonl"
MAX_NEW_TOKENS = 16
CHECKS = [
    ("B", "B", 1.0),
    ("a moon", "A", 0.0),
    ("(B) the moon", "B", 1.0),
    ("The answer is C.", "C", 1.0),
    ("", "A", 0.0),
    ("No.", "no", 1.0),
    ("no idea", "no", 0.0),
]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "llava", answer_text)


def score(answer: str, item: Item) -> dict[str, float]:
    """The right letter where the right answer is one, else the right words."""
    right = texts(item)
    lettered = all(choice_letter(reference) for reference in right)
    return {"accuracy": multiple_choice(answer, right) if lettered else exact_match(answer, right)}
