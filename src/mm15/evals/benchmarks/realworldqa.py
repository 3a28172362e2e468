"""RealWorldQA (xAI, 2024), test: a question about an everyday picture, by option or in a word; accuracy.

Files: the parquet releases of xAI or lmms-lab, or VLMEvalKit's ``RealWorldQA.tsv``, where the options stand in columns
of their own. A question is asked as it is: it ends with how to answer. Where the right answer is a letter, that of the
given one is read as lmms-eval reads it (``mcq_extract.py``); elsewhere the answer must be equal, case aside.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks._options import LETTER_HINT, LETTERS, score_option, table_options, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import exact_match

NAME = "realworldqa"
SUITE = "paper"
CATEGORY = "general"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
LETTERED, OPEN = "options", "open"
_LETTERED = check_item("C", options=["", "", "", ""])
CHECKS = [
    ("C", _LETTERED, 1.0),
    ("The answer is (C).", _LETTERED, 1.0),
    ("B", _LETTERED, 0.0),
    ("", _LETTERED, 0.0),
    ("downhill.", "Downhill", 1.0),
    ("3 cars", "3", 0.0),
    ("", "3", 0.0),
]

RELEASES = (
    Release(("test*.parquet", "data/test*.parquet"), ("image", "question", "answer"), 765, ("image",)),
    Release(("RealWorldQA.tsv",), ("index", "image", "question", "A", "B", "answer"), 765, ("image",), name="table"),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is ``options`` or ``open``."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    asked, right = str(row["question"]).strip(), str(row["answer"]).strip()
    shown = table_options(row) if release.name == "table" else []
    if shown:
        asked = with_options(asked, shown) + LETTER_HINT
    # The options are part of the question's text; lmms-eval reads letters up to D.
    options = shown or [""] * 4
    parts = (at.image(row["image"]), f"\n{asked}")
    if len(right) == 1 and right.upper() in LETTERS[: len(options)]:
        return question(NAME, at.number, parts, right.upper(), LETTERED, options=options)
    return question(NAME, at.number, parts, right, OPEN)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter, or the words."""
    if "options" in item.facts:
        return score_option(answer, item, "priority")
    return {"accuracy": exact_match(answer, texts(item))}
