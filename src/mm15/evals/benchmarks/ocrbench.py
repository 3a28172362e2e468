"""OCRBench (arXiv 2305.07895), all 1,000 questions: reading text of ten kinds, by whether the answer holds the text.

Files: the parquet release (``dataset, question, question_type, answer, image``), or VLMEvalKit's ``OCRBench.tsv``
(``index, image, question, answer, category``). No prompt is added, as in the authors' script and lmms-eval. The paper
reports points of 1,000; the reported number is a tenth of them, 0-100. Sub-scores are of the ten kinds of question.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks._answers import answer_list
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import ocrbench

NAME = "ocrbench"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 128
MATH = "Handwritten Mathematical Expression Recognition"
"""Its answers keep their case and lose their spaces (HME100k)."""
CHECKS = [
    ("It says CENTRE here", "centre", 1.0),
    ("centr", "centre", 0.0),
    ("X ^ 2", check_item("X^2", handwritten=True), 1.0),
    ("x^2", check_item("X^2", handwritten=True), 0.0),
    ("", "centre", 0.0),
]

RELEASES = (
    Release(
        ("test*.parquet", "data/test*.parquet"),
        ("dataset", "question", "question_type", "answer", "image"),
        1000,
        ("image",),
    ),
    Release(
        ("OCRBench*.tsv",), ("index", "image", "question", "answer", "category"), 1000, ("image",), name="vlmevalkit"
    ),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the kind of question."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    kind = row["category" if release.name == "vlmevalkit" else "question_type"]
    handwritten = kind == MATH or row.get("dataset") == "HME100k"
    picture = at.image(row["image"])
    right = answer_list(row["answer"])
    return question(NAME, at.number, (picture, f"\n{row['question'].strip()}"), right, kind, handwritten=handwritten)


def score(answer: str, item: Item) -> dict[str, float]:
    """1 when a right text stands somewhere in the answer."""
    return {"accuracy": ocrbench(answer, texts(item), handwritten_math=bool(item.facts.get("handwritten")))}
