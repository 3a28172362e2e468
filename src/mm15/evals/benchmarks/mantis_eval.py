"""Mantis-Eval (arXiv 2405.01483), test split: choices and short answers about several pictures, by accuracy.

Files: the parquet release (``id, question_type, question, images, options, answer``). Hints and scoring as lmms-eval
``mantis``. lmms-eval writes the options as a Python list behind the hint; here each has a line of its own in front of
it.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTER_HINT, LETTERS, with_options
from mm15.evals.benchmarks._pictures import bare_option, placed
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import final_answer, multiple_choice

NAME = "mantis-eval"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 64
_CAT = check_item("B", options=["dog", "cat"])
CHECKS = [
    ("B", _CAT, 1.0),
    ("The answer is (B) cat", _CAT, 1.0),
    ("A", _CAT, 0.0),
    ("cat", _CAT, 1.0),
    ("I count them. Final Answer: Three", "three", 1.0),
    ("Three of them", "three", 0.0),
]

RELEASES = (
    Release(
        ("mantis_eval/test*.parquet", "data/test*.parquet", "test*.parquet"),
        ("id", "question_type", "question", "images", "options", "answer"),
        217,
        ("images",),
    ),
)


def read(files: Files) -> list[Item]:
    """The questions of the test split; the task is ``multi-choice`` or ``short-answer``."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    pictures = [at.image(picture) for picture in row["images"]]
    kind, asked = row["question_type"], row["question"]
    if kind == "short-answer":
        asked = (
            f"Given the images, answer the following short answer vqa question:\nQ: {asked}\n"
            'You can first give your analysis, and then give your final answer as "Final Answer:"'
        )
        return question(NAME, row["id"], placed(asked, pictures), row["answer"].strip("()\n "), kind)
    if kind != "multi-choice":
        raise SkipSample(f"'question_type' is multi-choice or short-answer, found {kind!r}")
    options = [bare_option(option) for option in row["options"]]
    right = next((character.upper() for character in row["answer"] if character.isalpha()), "")
    if not right or right not in LETTERS[: len(options)]:
        raise SkipSample(f"the right answer {row['answer']!r} is none of the {len(options)} options")
    parts = placed(with_options(asked, options) + LETTER_HINT, pictures)
    return question(NAME, row["id"], parts, right, kind, options=options)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as Mantis reads it; a short answer must equal the right one after its "final answer:", case aside."""
    if "options" in item.facts:
        return {"accuracy": multiple_choice(answer, texts(item), item.facts["options"], "mantis")}
    given = final_answer(answer).lower()
    return {"accuracy": float(bool(given) and given in {right.lower() for right in texts(item)})}
