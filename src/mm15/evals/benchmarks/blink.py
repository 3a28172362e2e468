"""BLINK (arXiv 2404.12390), val split: choices on 14 tasks of perception, by the mean accuracy of the tasks.

Files: the parquet release (a folder per task: ``idx, sub_task, question, image_1..4, choices, answer, prompt``), or
VLMEvalKit's ``BLINK.tsv`` (``index, question, A, B, .., answer, category, image``). Prompt and reading of the letter as
lmms-eval ``blink``; the table has no ``prompt``, so that its options are written as the others' are. Over all questions
the accuracy is ``micro_accuracy``, which is the number that lmms-eval gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTERS, option_letter, score_option, table_options
from mm15.evals.benchmarks._pictures import placed
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question
from mm15.evals.table import Table, Values

NAME = "blink"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 32
PICTURES = ("image_1", "image_2", "image_3", "image_4")
_LEFT = check_item("B", options=["right", "left"])
CHECKS = [("(B)", _LEFT, 1.0), ("The answer is B.", _LEFT, 1.0), ("A", _LEFT, 0.0), ("left", _LEFT, 0.0)]

RELEASES = (
    Release(
        ("*/val*.parquet", "data/val*.parquet"),
        ("idx", "sub_task", "question", "image_1", "choices", "answer", "prompt"),
        1901,
        PICTURES,
    ),
    Release(("BLINK*.tsv",), ("index", "image", "question", "A", "B", "answer", "category"), 0, ("image",), name="kit"),
)


def read(files: Files) -> list[Item]:
    """The questions of the val split; the task is the sub-task."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "kit":
        options = table_options(row)
        listed = row["image"] if isinstance(row["image"], list) else [row["image"]]
        lines = "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
        asked = f"{row['question']}\nSelect from the following choices.\n{lines}"
        number, task, right = row["index"], row["category"], row["answer"]
    else:
        options = list(row["choices"])
        listed = [row[column] for column in PICTURES if row.get(column) is not None]
        number, task = f"{row['sub_task']}/{row['idx']}", row["sub_task"]
        right, asked = row["answer"].strip("()"), row["prompt"]
    if not options:
        raise SkipSample("a question without options")
    letters = ", ".join(LETTERS[: len(options)])
    note = f"Note: You only need to respond with {letters} without providing any additional information.\n"
    parts = placed(note + asked, [at.image(picture) for picture in listed])
    return question(NAME, number, parts, option_letter(right, options), task, options=options)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as lmms-eval 0.7.3 reads it."""
    return score_option(answer, item, "blink")


def combine(table: Table) -> Mapping[str, Values]:
    """The mean over sub-tasks, and over all questions."""
    return {"accuracy": 100 * table.mean_of_tasks("accuracy"), "micro_accuracy": 100 * table.mean("accuracy")}
