"""VizWiz-VQA (arXiv 1802.08218), validation split, few-shot: 4,319 questions of blind people, by VQA accuracy.

MM1 reports test-dev, whose answers are secret; the validation split is scored here. Files: the parquet release
(``question_id, image, question, answers``; ``val-*``), or the authors' ``val.json`` (``image, question, answers``)
beside ``val/``; ``train-*``, or ``train.json`` beside ``train/``, for demonstrations.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks import _few_shot
from mm15.evals.benchmarks._answers import answer_list
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item

NAME = "vizwiz"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "vqa_accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 16
CHECKS = _few_shot.QUESTION_CHECKS
COLUMNS = ("image", "question", "answers")

RELEASES = (
    Release(("val*.parquet", "data/val*.parquet"), COLUMNS, 4319, ("image",)),
    Release(("val.json", "Annotations/val.json"), COLUMNS, 4319, name="val"),
)
TRAIN = (
    Release(("train*.parquet", "data/train*.parquet"), COLUMNS, 0, ("image",)),
    Release(("train.json", "Annotations/train.json"), COLUMNS, name="train"),
)
Options = _few_shot.QuestionOptions


def read(files: Files) -> list[Item]:
    """The questions of the split, each with every number of demonstrations; the task is that number."""
    return _few_shot.few_shot(files, RELEASES, TRAIN, _make, _few_shot.write_question)


def _make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    picture = f"{release.name}/{row['image']}" if release.name else row["image"]
    return _few_shot.shown_with(at, picture, row["question"], answer_list(row["answers"]))


score = _few_shot.question_scores
perfect = _few_shot.best_answer
