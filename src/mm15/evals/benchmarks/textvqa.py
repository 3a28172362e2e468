"""TextVQA (arXiv 1904.08920), validation split: 5,000 questions about the text in pictures, by VQA accuracy.

Files: the parquet release (``question_id, question, image, image_id, answers``), the authors'
``TextVQA_0.5.1_val.json`` (``question_id, question, image_id, answers``) beside ``train_images/``, or VLMEvalKit's
``TextVQA_VAL.tsv``. Prompt and normalisation as lmms-eval has them: the question with one capital letter, no text from
OCR.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from mm15.base.types import ImagePart
from mm15.evals.benchmarks._answers import answer_list
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import vqa_accuracy

NAME = "textvqa"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "vqa_accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 16
HINT = "\nAnswer the question using a single word or phrase."
CHECKS = [
    ("Nokia.", ["nokia"] * 10, 1.0),
    ("nokia", ["nokia"] * 3 + ["samsung"] * 7, 0.9),
    ("nokia", ["nokia"] * 1 + ["samsung"] * 9, 0.3),
    ("a nokia phone", ["nokia"] * 10, 0.0),
    ("", ["the"] * 10, 0.0),
]

RELEASES = (
    Release(
        ("validation*.parquet", "data/validation*.parquet"),
        ("question_id", "question", "image", "image_id", "answers"),
        5000,
        ("image",),
    ),
    Release(("TextVQA_*_val.json",), ("question_id", "question", "image_id", "answers"), 5000, name="authors"),
    Release(("TextVQA_VAL*.tsv",), ("index", "image", "question", "answer"), 5000, ("image",), name="vlmevalkit"),
)
TRAIN = (
    Release(("train*.parquet", "data/train*.parquet"), RELEASES[0].columns, 0, ("image",)),
    Release(("TextVQA_*_train.json",), RELEASES[1].columns, name="authors"),
)
"""For the few-shot benchmark."""


def read(files: Files) -> list[Item]:
    """The questions of the validation split."""
    return files.items(RELEASES, _item)


def cells(row: dict[str, Any], at: RowAt, release: Release) -> tuple[ImagePart, str, list[str], str]:
    """Picture, question, the answers of ten people, and the picture's name where it has one."""
    picture = f"train_images/{row['image_id']}.jpg" if release.name == "authors" else row["image"]
    answers = row["answer" if release.name == "vlmevalkit" else "answers"]
    return at.image(picture), row["question"], answer_list(answers), str(row.get("image_id", ""))


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    picture, asked, right, group = cells(row, at, release)
    return question(NAME, at.number, (picture, f"\n{asked.capitalize()}{HINT}"), right, group=group)


def score(answer: str, item: Item) -> dict[str, float]:
    """Agreement with ten people."""
    return {"vqa_accuracy": vqa_accuracy(answer, texts(item)) if answer.strip() else 0.0}


def perfect(item: Item) -> str:
    """What most people answered."""
    return Counter(texts(item)).most_common(1)[0][0]
