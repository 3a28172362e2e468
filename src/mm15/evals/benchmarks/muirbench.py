"""MuirBench (arXiv 2406.09411), test split: choices about several pictures, some unanswerable, by accuracy.

Files: the parquet release (``idx, task, question, options, answer, image_list``), or VLMEvalKit's ``MUIRBench.tsv``
(``index, question, A, B, .., answer, category, image``). Prompt and reading of the letter as lmms-eval ``muirbench``;
pictures stand where the text has ``<image>``, as in VLMEvalKit.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, table_options, with_options
from mm15.evals.benchmarks._pictures import placed
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "muirbench"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
_SECOND = check_item("B", options=["the first", "the second"])
CHECKS = [("B", _SECOND, 1.0), ("B. the second", _SECOND, 1.0), ("A", _SECOND, 0.0), ("the second", _SECOND, 0.0)]

RELEASES = (
    Release(
        ("test*.parquet", "data/test*.parquet"),
        ("idx", "task", "question", "options", "answer", "image_list"),
        2600,
        ("image_list",),
    ),
    Release(
        ("MUIRBench*.tsv",), ("index", "image", "question", "A", "B", "answer", "category"), 0, ("image",), name="kit"
    ),
)


def read(files: Files) -> list[Item]:
    """The questions of the test split; the task is that of MuirBench."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "kit":
        number, task, options, listed = row["index"], row["category"], table_options(row), row["image"]
    else:
        number, task, options, listed = row["idx"], row["task"], list(row["options"]), row["image_list"]
    pictures = [at.image(picture) for picture in (listed if isinstance(listed, list) else [listed])]
    parts = placed(with_options(row["question"], options) + LETTER_HINT, pictures)
    return question(NAME, number, parts, option_letter(row["answer"], options), task, options=options)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter, alone or as "B." in front."""
    return score_option(answer, item, "letter_dot")
