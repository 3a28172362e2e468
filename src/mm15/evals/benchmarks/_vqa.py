"""Questions in the layout of the VQA toolkit (arXiv 1505.00468): questions in one file, ten answers each in another."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks import _few_shot
from mm15.evals.benchmarks._answers import answer_list
from mm15.evals.files import Files, Make, Release, RowAt, read_rows
from mm15.evals.items import Item

TOOLKIT = "toolkit"
"""Name of the releases in this layout."""


def toolkit_release(pattern: str, rows: int = 0) -> Release:
    """Questions as ``[v2_]OpenEnded_mscoco_<split>_questions.json``; pictures are ``<split>/COCO_<split>_<id>.jpg``.

    The answers lie in the file of the same name with ``annotations`` and without ``OpenEnded``.
    """
    return Release((pattern,), ("question_id", "image_id", "question"), rows, field="questions", name=TOOLKIT)


def vqa_rows(files: Files, secret: bool = False) -> Make:
    """Rows of toolkit releases, and of tables with ``question_id, question, image, answers``, as items.

    Args:
        secret: the answers of this split are not handed out.
    """

    @cache
    def annotations(questions: str) -> dict[Any, list[str]]:
        name = questions.replace("OpenEnded_", "").replace("_questions", "_annotations")
        path = files.folder / name
        return {row["question_id"]: answer_list(row["answers"]) for _, row in read_rows(path, "annotations")}

    def make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        number, right = row["question_id"], []
        if release.name != TOOLKIT:
            right = [] if secret else answer_list(row["answers"])
            return _few_shot.shown_with(
                at, row["image"], row["question"], right, str(row.get("image_id", "")), id=number
            )
        if not secret:
            right = annotations(at.file).get(number, [])
            if not right:
                raise SkipSample(f"question {number} has no answers in the annotations")
        split = picture_split(at.file)
        picture = f"{split}/COCO_{split}_{row['image_id']:012d}.jpg"
        return _few_shot.shown_with(at, picture, row["question"], right, str(row["image_id"]), id=number)

    return make


def picture_split(questions: str) -> str:
    """The folder of pictures that a file of questions is about: ``val2014``; ``test2015`` for ``test-dev2015``."""
    found = re.search(r"mscoco_([a-z]+)(?:-[a-z]+)?(\d{4})_", questions)
    if found is None:
        raise SkipSample(f"{questions} does not say which pictures it is about (like mscoco_val2014)")
    return found[1] + found[2]


def submission_rows(answers: list[str], items: list[Item]) -> list[dict[str, Any]]:
    """``[{"question_id", "answer"}]``, the form of the VQA servers."""
    return [
        {"question_id": item.facts["id"], "answer": _few_shot.short_answer(answer, item)}
        for answer, item in zip(answers, items, strict=True)
    ]
