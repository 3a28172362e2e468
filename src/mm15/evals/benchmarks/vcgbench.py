"""VCGBench of Video-ChatGPT (arXiv 2306.05424): free answers about clips, judged from 0 to 5 in five aspects.

Files: the parquet release (folders ``Generic`` and ``Temporal`` with ``video_name, question, answer``, and
``Consistency`` with ``video_name, question_1, question_2, answer``, a row for each of two questions, the other being
"None"), or the authors' ``generic_qa.json``, ``temporal_qa.json`` (``video_name, Q, A``) and ``consistency_qa.json``
(``video_name, Q1, Q2, A``); clips in ``Test_Videos/``. Generic questions are judged for correctness, detail and
context, the others for temporal order, and two answers together for consistency. Reported: every aspect's mean and
their mean, in the judge's points. The judge's prompts are Video-ChatGPT's, as lmms-eval ``videochatgpt`` has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mm15.base.errors import DataError, SkipSample
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.benchmarks._vcg_judge import ASPECTS, GENERIC, told_about, told_about_two
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import vcg_score
from mm15.evals.table import Table, Values

NAME = "vcgbench"
SUITE = "video"
CATEGORY = "video"
METRIC = "mean_score"
SPLIT = "test"
MAX_NEW_TOKENS = 1024
BEST = 5
"""Highest score of the judge."""
CHECKS: list[tuple[str, Any, float]] = []
FOLDERS = ("Test_Videos", "videos", "")
NONE = "None"
"""In place of the question of a pair that a row does not ask."""

GENERIC_FILES = (
    Release(("Generic/test*.parquet",), ("video_name", "question", "answer"), 1996),
    Release(("generic_qa.json",), ("video_name", "Q", "A"), name="authors"),
)
TEMPORAL_FILES = (
    Release(("Temporal/test*.parquet",), ("video_name", "question", "answer"), 499),
    Release(("temporal_qa.json",), ("video_name", "Q", "A"), name="authors"),
)
CONSISTENCY_FILES = (
    Release(("Consistency/test*.parquet",), ("video_name", "question_1", "question_2", "answer"), 998),
    Release(("consistency_qa.json",), ("video_name", "Q1", "Q2", "A"), name="authors"),
)


def read(files: Files) -> list[Item]:
    """Questions of three aspects, of temporal order, and pairs for consistency; the task is which of these."""
    items: list[Item] = []
    problems = []
    for releases, make in (
        (GENERIC_FILES, _single("generic")),
        (TEMPORAL_FILES, _single("temporal")),
        (CONSISTENCY_FILES, _pairs()),
    ):
        try:
            items += files.items(releases, make)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return items


def _single(task: str) -> Callable[[dict[str, Any], RowAt, Release], Item]:
    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        asked, right = ("Q", "A") if release.name == "authors" else ("question", "answer")
        return _item(row, at, f"{task}/{at.number}", row[asked], row[right], task)

    return item


def _pairs() -> Callable[[dict[str, Any], RowAt, Release], list[Item]]:
    seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    def items(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
        authors = release.name == "authors"
        asked = (row["Q1"], row["Q2"]) if authors else (row["question_1"], row["question_2"])
        right = row["A"] if authors else row["answer"]
        made = []
        for place, text in enumerate(asked):
            if text in (None, NONE):
                continue
            pair = f"{row['video_name']}/{seen[place][row['video_name']]}"
            seen[place][row["video_name"]] += 1
            key = f"consistency/{at.number}.{place + 1}"
            made.append(_item(row, at, key, text, right, "consistency", pair=pair, place=place))
        if not made:
            raise SkipSample("neither of the two questions is asked")
        return made

    return items


def _item(row: dict[str, Any], at: RowAt, key: str, asked: str, right: str, task: str, **facts: Any) -> Item:
    clip = str(row["video_name"])
    parts = (find_clip(at, clip, FOLDERS), f"\n{asked}")
    return question(NAME, key, parts, right, task, clip, asked=asked, **facts)


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """Of one answer: one question per aspect; silence is not shown to the judge. Pairs are in ``judge_all``."""
    if not answer.strip() or item.task == "consistency":
        return []
    aspects = GENERIC if item.task == "generic" else (item.task,)
    return [told_about(aspect, item.facts["asked"], texts(item)[0], answer) for aspect in aspects]


def judge_all(answers: Sequence[str], items: Sequence[Item]) -> list[list[Messages]]:
    """What the judge is asked about every answer; about a pair with its first one."""
    seconds = {
        item.facts["pair"]: (item.facts["asked"], answer)
        for answer, item in zip(answers, items, strict=True)
        if item.facts.get("place") == 1
    }
    prompts = []
    for answer, item in zip(answers, items, strict=True):
        if item.task != "consistency":
            prompts.append(judge_prompts(answer, item))
            continue
        asked, second = seconds.get(item.facts["pair"], ("", ""))
        if item.facts["place"] == 1 or not answer.strip() or not second.strip():
            prompts.append([])
            continue
        prompts.append([told_about_two(item.facts["asked"], asked, texts(item)[0], answer, second)])
    return prompts


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """The aspects that an item is judged for, as shares of 5. What was not judged or cannot be read is 0.

    The second of a pair has none of its own.
    """
    if item.facts.get("place") == 1:
        return {}
    aspects = GENERIC if item.task == "generic" else (item.task,)
    found = [vcg_score(reply) for reply in replies]
    rated = [min(BEST, max(0, one or 0)) / BEST for one in found] or [0.0] * len(aspects)
    values = dict(zip(aspects, rated, strict=True))
    return values | {"unreadable": float(any(one is None for one in found))}


def combine(table: Table) -> Mapping[str, Values]:
    """The mean of every aspect and of these means, from 0 to 5."""
    means = {aspect: BEST * table.mean(aspect) for aspect in ASPECTS if aspect in table.metrics}
    return {
        "mean_score": np.mean(list(means.values()), axis=0),
        **means,
        "unreadable": 100 * table.mean("unreadable"),
    }
