"""TextVQA (arXiv 1904.08920), validation split, few-shot: 5,000 questions about text in pictures, by VQA accuracy.

Files: those of ``textvqa``, in a folder of its own name; and the training split for demonstrations: ``train-*``
parquet files, or the authors' ``TextVQA_0.5.1_train.json``.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks import _few_shot, textvqa
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item

NAME = "textvqa-few-shot"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "vqa_accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 16
CHECKS = _few_shot.QUESTION_CHECKS

RELEASES = textvqa.RELEASES
TRAIN = textvqa.TRAIN
Options = _few_shot.QuestionOptions


def read(files: Files) -> list[Item]:
    """The questions of the split, each with every number of demonstrations; the task is that number."""
    return _few_shot.few_shot(files, RELEASES, TRAIN, _make, _few_shot.write_question)


def _make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    picture, asked, right, group = textvqa.cells(row, at, release)
    return _few_shot.shown_with(at, picture.media, asked, right, group)


score = _few_shot.question_scores
perfect = _few_shot.best_answer
