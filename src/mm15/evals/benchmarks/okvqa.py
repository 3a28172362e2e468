"""OK-VQA (arXiv 1906.00067), validation split, few-shot: 5,046 questions that need outside knowledge, by VQA accuracy.

Files: the parquet release (``question_id, image, question, answers``; ``val2014-*``), or the authors'
``OpenEnded_mscoco_val2014_questions.json`` and ``mscoco_val2014_annotations.json`` beside ``val2014/``; the same of
``train2014`` for demonstrations. OpenFlamingo also stems the words of these answers; that is not done here.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _few_shot
from mm15.evals.benchmarks._vqa import toolkit_release, vqa_rows
from mm15.evals.files import Files, Release
from mm15.evals.items import Item

NAME = "okvqa"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "vqa_accuracy"
SPLIT = "val"
MAX_NEW_TOKENS = 16
CHECKS = _few_shot.QUESTION_CHECKS
COLUMNS = ("question_id", "image", "question", "answers")

RELEASES = (
    Release(("val2014*.parquet", "data/val2014*.parquet"), COLUMNS, 5046, ("image",)),
    toolkit_release("OpenEnded_mscoco_val2014_questions.json", 5046),
)
TRAIN = (
    Release(("train*.parquet", "data/train*.parquet"), COLUMNS, 0, ("image",)),
    toolkit_release("OpenEnded_mscoco_train2014_questions.json"),
)
Options = _few_shot.QuestionOptions


def read(files: Files) -> list[Item]:
    """The questions of the split, each with every number of demonstrations; the task is that number."""
    return _few_shot.few_shot(files, RELEASES, TRAIN, vqa_rows(files), _few_shot.write_question)


score = _few_shot.question_scores
perfect = _few_shot.best_answer
