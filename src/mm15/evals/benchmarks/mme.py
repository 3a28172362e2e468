"""MME (arXiv 2306.13394), test: two yes-or-no questions about a picture in 14 sub-tasks; (perception + cognition) / 28.

A sub-task counts 100 times the share of right answers plus 100 times the share of pictures with both answers right;
perception is the sum of ten sub-tasks (0 to 2000), cognition of four (0 to 800); a sub-task that was not asked adds
nothing. ``mme`` is their sum over 28, the form in which MM1.5 averages it. Sub-tasks are reported in points.

Files: the parquet release of lmms-lab, or VLMEvalKit's ``MME.tsv``. Prompt as in lmms-eval (``tasks/mme``): its hint in
place of " Please answer yes or no.".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm15.base.errors import DataError, SkipSample
from mm15.evals import scoring
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.table import Table, Values

NAME = "mme"
SUITE = "paper"
CATEGORY = "general"
METRIC = "mme"
SPLIT = "test"
MAX_NEW_TOKENS = 16
REPLACED = " Please answer yes or no."
HINT = "\nAnswer the question using a single word or phrase."
CHECKS = [("Yes.", "Yes", 1.0), ("n", "No", 1.0), ("No", "Yes", 0.0), ("maybe", "Yes", 0.0), ("", "No", 0.0)]

RELEASES = (
    Release(
        ("test*.parquet", "data/test*.parquet"),
        ("question_id", "image", "question", "answer", "category"),
        2374,
        ("image",),
    ),
    Release(("MME.tsv",), ("index", "image", "image_path", "question", "answer", "category"), 2374, ("image",)),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the sub-task, the group the picture.

    Raises:
        DataError: see ``Files.items``; or a picture of a whole release has not two questions.
    """
    items = files.items(RELEASES, _item)
    odd = sorted(group for group, count in Counter(item.group for item in items).items() if count != 2)
    if odd and not files.partial:
        told = ", ".join(odd[:8])
        raise DataError(f"{NAME}: MME asks two questions about every picture; not so for {len(odd)} of them: {told}")
    return items


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    task = row["category"]
    if task not in (*scoring.MME_PERCEPTION, *scoring.MME_COGNITION):
        raise SkipSample(f"unknown sub-task {task!r}")
    asked = str(row["question"]).strip().replace(REPLACED, "")
    # The number of a question in the parquet release, and the picture's path in the table, name the picture.
    group = f"{task}/{row['question_id'] if 'question_id' in row else row['image_path']}"
    return question(NAME, at.number, (at.image(row["image"]), f"\n{asked}{HINT}"), row["answer"], task, group)


def score(answer: str, item: Item) -> dict[str, float]:
    """Right or wrong, of one question."""
    return {"accuracy": scoring.mme(answer, texts(item))}


def score_all(answers: Sequence[str], items: Sequence[Item]) -> list[dict[str, float]]:
    """Also ``both``: whether both answers about the picture are right; absent where only one of them was asked for."""
    values = [score(answer, item) for answer, item in zip(answers, items, strict=True)]
    pictures: dict[str, list[dict[str, float]]] = defaultdict(list)
    for value, item in zip(values, items, strict=True):
        pictures[item.group].append(value)
    for pair in pictures.values():
        both = float(all(value["accuracy"] for value in pair))
        for value in pair if len(pair) == 2 else ():
            value["both"] = both
    return values


def combine(table: Table) -> dict[str, Values]:
    """Sums of sub-tasks; a share of each sub-task is a mean over its questions, since every picture has two."""
    metrics = [name for name in ("accuracy", "both") if name in table.metrics]
    points = {task: 100 * np.sum([table.mean(name, task) for name in metrics], axis=0) for task in table.tasks}
    nothing = np.zeros_like(next(iter(points.values())))
    perception, cognition = (
        np.sum([points.get(task, nothing) for task in tasks], axis=0)
        for tasks in (scoring.MME_PERCEPTION, scoring.MME_COGNITION)
    )
    return {"mme": (perception + cognition) / 28, "perception": perception, "cognition": cognition, **points}
