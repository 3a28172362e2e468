"""AI2D (arXiv 1603.07396), test: questions about school diagrams with up to four options; accuracy.

Files: the parquet release of lmms-lab, or VLMEvalKit's ``AI2D_TEST.tsv``. Both show the diagrams whose text labels are
masked by letters, the version that scores are usually reported on; scores on unmasked diagrams are higher. Prompt and
reading of the letter as in lmms-eval (``tasks/ai2d``).
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, table_options, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "ai2d"
SUITE = "paper"
CATEGORY = "knowledge"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
_LEAF = check_item("C", options=["root", "stem", "leaf", "bark"])
CHECKS = [
    ("C", _LEAF, 1.0),
    ("C. leaf", _LEAF, 1.0),
    ("(c)", _LEAF, 1.0),
    ("A", _LEAF, 0.0),
    ("leaf", _LEAF, 0.0),
    ("", _LEAF, 0.0),
]

RELEASES = (
    Release(("test*.parquet", "data/test*.parquet"), ("question", "options", "answer", "image"), 3088, ("image",)),
    Release(("AI2D_TEST.tsv",), ("index", "image", "question", "A", "B", "answer"), 3088, ("image",), name="table"),
)


def read(files: Files) -> list[Item]:
    """The questions."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    options = table_options(row) if release.name == "table" else list(row["options"])
    asked = with_options(row["question"], options) + LETTER_HINT
    right = option_letter(row["answer"], options)
    return question(NAME, at.number, (at.image(row["image"]), f"\n{asked}"), right, options=options)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter in front, else the whole answer without punctuation, against the right letter."""
    return score_option(answer, item, "letter_dot")
