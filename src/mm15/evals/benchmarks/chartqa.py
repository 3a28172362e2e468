"""ChartQA (arXiv 2203.10244), test split: questions about charts, human and augmented, by relaxed accuracy.

Files: the parquet release (``type, question, answer, image``), or the authors' ``test_human.json`` and
``test_augmented.json`` (``imgname, query, label``) beside ``png/``. Prompt and scoring as lmms-eval and the paper's
short-answer hint have them. The reported number is the mean over all 2,500 questions, which is that of the two halves.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import relaxed_accuracy

NAME = "chartqa"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "relaxed_accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
HINT = "\nAnswer the question with a single word."
CHECKS = [("105", "100", 1.0), ("105.01", "100", 0.0), ("12", "12%", 0.0), ("Oslo", "oslo", 1.0), ("", "3", 0.0)]

RELEASES = (
    Release(("test*.parquet", "data/test*.parquet"), ("type", "question", "answer", "image"), 2500, ("image",)),
    Release(("test_*.json", "test/test_*.json"), ("imgname", "query", "label"), 2500, name="authors"),
)


def read(files: Files) -> list[Item]:
    """The questions of the test split; the task is ``human`` or ``augmented``."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    if release.name == "authors":
        picture, asked, right = at.image(f"png/{row['imgname']}"), row["query"], row["label"]
        task = "human" if "human" in at.file else "augmented"
    else:
        picture, asked, right = at.image(row["image"]), row["question"], row["answer"]
        task = "human" if "human" in row["type"] else "augmented"
    return question(NAME, at.number, (picture, f"\n{asked}{HINT}"), right, task)


def score(answer: str, item: Item) -> dict[str, float]:
    """Numbers within 5 %, other answers equal, case aside."""
    return {"relaxed_accuracy": relaxed_accuracy(answer, texts(item))}
