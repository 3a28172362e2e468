"""ScienceQA (arXiv 2209.09513), test, its 2,017 questions with a picture: school science with options; accuracy.

Files: the parquet releases of lmms-lab (``ScienceQA-IMG``, or ``ScienceQA-FULL``, whose questions without a picture are
passed over), VLMEvalKit's ``ScienceQA_TEST.tsv``, or the authors' ``problems.json`` beside
``images/test/<number>/image.png``. The prompt is context, question, options, as in lmms-eval and LLaVA; so is the
reading of the letter.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import DataError
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, table_options, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "scienceqa"
SUITE = "paper"
CATEGORY = "knowledge"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
WITH_PICTURE = 2017
_MAGNETS = check_item("B", options=["attract", "repel"])
CHECKS = [
    ("B", _MAGNETS, 1.0),
    ("B. repel", _MAGNETS, 1.0),
    ("A", _MAGNETS, 0.0),
    ("(B)", _MAGNETS, 0.0),
    ("", _MAGNETS, 0.0),
]

_COLUMNS = ("question", "choices", "answer", "hint", "image")
RELEASES = (
    Release(("ScienceQA-IMG/test*.parquet", "data/test*.parquet", "test*.parquet"), _COLUMNS, WITH_PICTURE, ("image",)),
    Release(("ScienceQA-FULL/test*.parquet",), _COLUMNS, 4241, ("image",)),
    Release(
        ("ScienceQA_TEST.tsv",),
        ("index", "image", "question", "A", "B", "answer"),
        WITH_PICTURE,
        ("image",),
        name="table",
    ),
    Release(("problems.json",), (*_COLUMNS, "split"), 4241, (), {"split": "test"}, form="keyed", name="authors"),
)


def read(files: Files) -> list[Item]:
    """The questions with a picture; the task is the subject.

    Raises:
        DataError: see ``Files.items``; or another number of them than the official one.
    """
    items = files.items(RELEASES, _items)
    if len(items) != WITH_PICTURE and not files.partial:
        raise DataError(f"{NAME}: {len(items)} questions with a picture where the official test split has 2017")
    return items


def _items(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
    if not row["image"]:
        return []
    options = table_options(row) if release.name == "table" else list(row["choices"])
    named = f"images/test/{row['key']}/{row['image']}" if release.name == "authors" else row["image"]
    hint = row.get("hint") or ""
    asked = f"Context: {hint}\n{row['question']}" if hint else str(row["question"])
    asked = with_options(asked, options) + LETTER_HINT
    right, task = option_letter(row["answer"], options), str(row.get("subject") or "")
    return [question(NAME, at.number, (at.image(named), f"\n{asked}"), right, task, options=options)]


def score(answer: str, item: Item) -> dict[str, float]:
    """Exactly the right letter, or the letter and a full stop in front."""
    return score_option(answer, item, "scienceqa")
