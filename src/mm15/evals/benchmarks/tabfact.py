"""TabFact (arXiv 1909.02164), test split: does a statement hold by the picture of a table, by accuracy.

Files: ``TabFact_test.jsonl`` of mPLUG's DocDownstream-1.0 (``image, messages``; the answer is True or False) beside its
``imgs/``, which the paper reports. Or TableVQA-Bench (arXiv 2404.19205), 250 statements of that test on other pictures
of the tables: the parquet release (``vtabfact-*.parquet``), or VLMEvalKit's table, of which the rows of ``vtabfact``
are read. The answer must say true or false, and not both.
"""

from __future__ import annotations

import re
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._tables import docowl_turns, tablevqa_releases
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import tabfact

NAME = "tabfact"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
HINT = "\nIs the statement true or false? Answer with True or False only."
CHECKS = [
    ("True", "1", 1.0),
    ("false.", "0", 1.0),
    ("It is not true that it is false", "1", 0.0),
    ("yes", "1", 0.0),
    ("", "0", 0.0),
]
LABELS = {"true": "1", "1": "1", "entailed": "1", "yes": "1", "false": "0", "0": "0", "refuted": "0", "no": "0"}

RELEASES = (
    Release(("TabFact_test.jsonl", "test/TabFact_test.jsonl"), ("image", "messages"), name="docowl"),
    *tablevqa_releases("vtabfact", 250),
)


def read(files: Files) -> list[Item]:
    """The statements of the test split, or of the part of it that TableVQA-Bench has."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "docowl":
        picture, asked, right = docowl_turns(row, at)
        # The question is ours; one that a release put behind its statements is left out.
        statement = re.sub(r"[\s,]*\b(yes or no|true or false)\b\W*$", "", asked, flags=re.IGNORECASE)
    else:
        picture, statement, right = at.image(row["image"]), row["question"], row[release.columns[2]]
    label = LABELS.get(str(right).strip().removesuffix(".").lower())
    if label is None:
        raise SkipSample(f"the right answer must be one of {', '.join(LABELS)}, found {right!r}")
    return question(NAME, at.number, (picture, f"\nStatement: {statement}{HINT}"), label, group=str(picture.media))


def score(answer: str, item: Item) -> dict[str, float]:
    """1 when the answer says what holds."""
    return {"accuracy": tabfact(answer, texts(item))}


def perfect(item: Item) -> str:
    """The word for the label."""
    return "True" if texts(item)[0] == "1" else "False"


def constants(items: list[Item]) -> list[str]:
    """Both words."""
    return ["True", "False"]
