"""SEED-Bench (arXiv 2307.16125), its questions about single pictures: four options in nine dimensions; accuracy.

Files: the parquet release of lmms-lab (its rows of ``data_type`` image), VLMEvalKit's ``SEEDBench_IMG.tsv``, or the
authors' ``SEED-Bench.json`` beside ``SEED-Bench-image/``. Prompt as in lmms-eval (``tasks/seedbench``); the letter is
the answer's first character, as there.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, table_options, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "seed-image"
SUITE = "paper"
CATEGORY = "general"
METRIC = "accuracy"
SPLIT = "image"
MAX_NEW_TOKENS = 16
_DOGS = check_item("B", options=["one dog", "two dogs", "three dogs", "none"])
CHECKS = [("B", _DOGS, 1.0), ("b. two dogs", _DOGS, 1.0), ("A", _DOGS, 0.0), ("two dogs", _DOGS, 0.0), ("", _DOGS, 0.0)]

DIMENSIONS = {
    "1": "Scene Understanding",
    "2": "Instance Identity",
    "3": "Instance Attributes",
    "4": "Instance Location",
    "5": "Instances Counting",
    "6": "Spatial Relation",
    "7": "Instance Interaction",
    "8": "Visual Reasoning",
    "9": "Text Understanding",
}
_CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")
_COLUMNS = ("question", *_CHOICES, "answer", "data_type", "question_type_id")
# The two releases are said to differ by one question; neither number could be confirmed, so none is asked for.
RELEASES = (
    Release(("test*.parquet", "data/test*.parquet"), (*_COLUMNS, "image"), 0, ("image",), {"data_type": "image"}),
    Release(
        ("SEEDBench_IMG.tsv",),
        ("index", "image", "question", "A", "B", "C", "D", "answer", "category"),
        0,
        ("image",),
        name="table",
    ),
    Release(
        ("SEED-Bench.json",), (*_COLUMNS, "data_id"), 0, (), {"data_type": "image"}, field="questions", name="authors"
    ),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the dimension, the group the picture where the file names it."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "table":
        options, task, group, named = table_options(row), row["category"], str(row["image"]), row["image"]
    else:
        options = [str(row[choice]) for choice in _CHOICES]
        task, group = DIMENSIONS.get(str(row["question_type_id"]), ""), str(row.get("data_id") or "")
        if not task:
            raise SkipSample(f"'question_type_id' {row['question_type_id']!r} is no dimension of pictures")
        named = f"SEED-Bench-image/{row['data_id']}" if release.name == "authors" else _only(row["image"])
    asked = with_options(row["question"], options) + LETTER_HINT
    right = option_letter(row["answer"], options)
    return question(NAME, at.number, (at.image(named), f"\n{asked}"), right, task, group, options=options)


def _only(pictures: object) -> object:
    if not isinstance(pictures, list) or len(pictures) != 1:
        raise SkipSample("'image' must be a list of one picture")
    return pictures[0]


def score(answer: str, item: Item) -> dict[str, float]:
    """The first character against the right letter."""
    return score_option(answer, item, "first_char")
