"""VQAv2 (arXiv 1612.00837), validation split, few-shot: 214,354 questions about pictures, by VQA accuracy.

The paper reports test-dev, whose answers are secret: ``--set vqav2.split=testdev`` answers it and writes one submission
per number of shots. Files: the parquet release (``question_id, image_id, image, question, answers``; ``validation-*``,
``testdev-*``), or the authors' ``v2_OpenEnded_mscoco_val2014_questions.json`` and
``v2_mscoco_val2014_annotations.json`` beside ``val2014/`` (``test-dev2015`` beside ``test2015/``); the same of
``train2014`` for demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mm15.evals.benchmarks import _few_shot
from mm15.evals.benchmarks._vqa import submission_rows, toolkit_release, vqa_rows
from mm15.evals.files import Files, Release
from mm15.evals.items import Item

NAME = "vqav2"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "vqa_accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 16
CHECKS = _few_shot.QUESTION_CHECKS
COLUMNS = ("question_id", "image_id", "image", "question")

RELEASES = (
    Release(("validation*.parquet", "data/validation*.parquet"), (*COLUMNS, "answers"), 214354, ("image",)),
    toolkit_release("v2_OpenEnded_mscoco_val2014_questions.json", 214354),
)
TESTDEV = (
    Release(("testdev*.parquet", "data/testdev*.parquet"), COLUMNS, 107394, ("image",)),
    toolkit_release("v2_OpenEnded_mscoco_test-dev2015_questions.json", 107394),
)
TRAIN = (
    Release(("train*.parquet", "data/train*.parquet"), (*COLUMNS, "answers"), 0, ("image",)),
    toolkit_release("v2_OpenEnded_mscoco_train2014_questions.json"),
)


class Options(_few_shot.QuestionOptions):
    """What a user may set."""

    split: Literal["val", "testdev"] = "val"
    """``testdev`` has no public answers: a submission is written."""


def read(files: Files) -> list[Item]:
    """The questions of the split, each with every number of demonstrations; the task is that number."""
    options: Options = files.options or Options()
    if options.split == "val":
        return _few_shot.few_shot(files, RELEASES, TRAIN, vqa_rows(files), _few_shot.write_question)
    shown, secret = vqa_rows(files), vqa_rows(files, secret=True)
    return _few_shot.few_shot(files, TESTDEV, TRAIN, shown, _few_shot.write_question, asked=secret)


def submission(answers: Sequence[str], items: Sequence[Item]) -> dict[str, Any]:
    """One file per number of shots, for the VQA server."""
    files = {}
    for task in dict.fromkeys(item.task for item in items):
        chosen = [(answer, item) for answer, item in zip(answers, items, strict=True) if item.task == task]
        files[f"vqav2-testdev-{task}.json"] = submission_rows(*map(list, zip(*chosen, strict=True)))
    return files


score = _few_shot.question_scores
perfect = _few_shot.best_answer
