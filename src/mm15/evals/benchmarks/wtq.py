"""WikiTableQuestions (arXiv 1508.00305), test split: questions about pictures of tables, by denotation accuracy.

Files: ``WikiTableQuestions_test.jsonl`` of mPLUG's DocDownstream-1.0 (``image, messages``) beside its ``imgs/``: the
4,344 questions that the paper reports. Or TableVQA-Bench (arXiv 2404.19205), 750 questions of that test on other
pictures of the tables: the parquet release (``vwtq-*.parquet``), or VLMEvalKit's table, of which the rows of ``vwtq``
are read. Several values are written with || between them, as TableVQA-Bench asks for; a right answer that holds
several has | between them.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks._tables import docowl_turns, tablevqa_releases
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import wtq

NAME = "wtq"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "denotation_accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 32
HINT = "\nAnswer the question using a single word or phrase. Separate several answers with ||."
CHECKS = [
    ("2004.0", "2004", 1.0),
    ("b || a", "a|b", 1.0),
    ("Italy", "Italy (ITA)", 1.0),
    ("a", "a|b", 0.0),
    ("The answer is 5", "5", 0.0),
    ("", "5", 0.0),
]

RELEASES = (
    Release(
        ("WikiTableQuestions_test.jsonl", "test/WikiTableQuestions_test.jsonl"),
        ("image", "messages"),
        4344,
        name="docowl",
    ),
    *tablevqa_releases("vwtq", 750),
)


def read(files: Files) -> list[Item]:
    """The questions of the test split, or of the part of it that TableVQA-Bench has."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "docowl":
        picture, asked, right = docowl_turns(row, at)
    else:
        picture, asked, right = at.image(row["image"]), row["question"], str(row[release.columns[2]])
    return question(NAME, at.number, (picture, f"\n{asked}{HINT}"), right, group=str(picture.media))


def score(answer: str, item: Item) -> dict[str, float]:
    """1 when the values are those of the right answer."""
    return {"denotation_accuracy": wtq(answer, texts(item)[0])}
