"""Ferret-Bench (arXiv 2310.07704): what is in a region and why, and answers with boxes, rated by a judge against GPT-4.

Files: the authors' ``refer_caption/``, ``refer_reason/`` and ``ground_conv/``, each with ``question.jsonl``,
``context.jsonl`` and ``answer.jsonl`` (40 rows: ``question_id, image, category, text``) and the pictures of COCO's
``val2017/``; or the parquet release (``question_id, question, image, image_name, category, context, gpt_answer``). Both
need the authors' ``rule.json``, which holds what the judge is asked to do. Boxes in questions run from 0 to 1.

The judge sees context, question, GPT-4's answer, then the model's (``ferret_bench_answer``), and gives two scores from
1 to 10. The reported number is 100 times the mean score of the model over that of GPT-4, over all answers; the same by
category, and the mean of the three categories, stand beside it. A review that cannot be read counts in
``unreadable`` only, where the published script averages it in as -1. An empty answer scores 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mm15.base.errors import DataError, SkipSample
from mm15.base.types import Box, Part, RegionPart, TextPart
from mm15.datasets._context import upright
from mm15.evals.benchmarks._refcoco import PictureOptions
from mm15.evals.files import Files, Release, RowAt, read_rows
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import ferret_bench_answer, two_scores
from mm15.evals.table import Table, Values

NAME = "ferret-bench"
SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "relative_score"
SPLIT = "test"
MAX_NEW_TOKENS = 1024
CHECKS: list[tuple[str, Any, float]] = []
"""Needs a judge; its score is tested with recorded replies."""
CATEGORIES = ("refer_desc", "refer_reason", "ground_conv")
HELPER = "You are a helpful and precise assistant for checking the quality of the answer."
RELEASES = (
    Release(("*/question.jsonl",), ("question_id", "image", "category", "text"), 120, name="authors"),
    Release(
        ("data/test*.parquet", "test*.parquet"),
        ("question_id", "question", "image", "category", "context", "gpt_answer"),
        120,
        ("image",),
    ),
)
Side = dict[tuple[str, str], tuple[str, str]]
"""(category, question id) → (picture, text)."""


class Options(PictureOptions):
    """What may be set under ``--set ferret-bench.``"""

    images: str = "val2017"


def read(files: Files) -> list[Item]:
    """The questions; the task is the category.

    Raises:
        DataError: also without ``rule.json``.
    """
    files.release(RELEASES)
    contexts, answers = (_side(files, name) for name in ("context", "answer"))
    return files.items(RELEASES, partial(_item, _rules(files), contexts, answers, files.options.images))


def _rules(files: Files) -> dict[str, dict[str, str]]:
    path = files.folder / "rule.json"
    if not path.is_file():
        raise DataError(f"{NAME}: no {path}; it lies beside the questions in Ferret's repository and tells the judge "
                        "what to do, copy it here")  # fmt: skip
    try:
        rules = json.loads(path.read_bytes())
        missing = [one for one in CATEGORIES if not (rules[one]["prompt"] and rules[one]["role"])]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{NAME}: {path} must give 'prompt' and 'role' for {', '.join(CATEGORIES)}: {error!r}"
        ) from error
    if missing:
        raise DataError(f"{NAME}: {path} has empty rules for {', '.join(missing)}")
    return rules


def _side(files: Files, name: str) -> Side:
    found: Side = {}
    for path in sorted(files.folder.glob(f"*/{name}.jsonl")):
        for number, row in read_rows(path):
            try:
                found[row["category"], str(row["question_id"])] = (row["image"], row["text"])
            except KeyError as error:
                raise DataError(f"{NAME}: {path}, row {number}: no {error}") from error
    return found


def _item(
    rules: dict[str, dict[str, str]],
    contexts: Side,
    answers: Side,
    images: str,
    row: dict[str, Any],
    at: RowAt,
    release: Release,
) -> Item:
    category, key = row["category"], (row["category"], str(row["question_id"]))
    if category not in CATEGORIES:
        raise SkipSample(f"unknown category {category!r}; known: {', '.join(CATEGORIES)}")
    if release.name == "authors":
        for side, named in ((contexts, "context"), (answers, "answer")):
            if key not in side or side[key][0] != row["image"]:
                raise SkipSample(f"{named}.jsonl has no row for {category} {key[1]} with picture {row['image']}")
        media, asked, context, right = f"{images}/{row['image']}", row["text"], contexts[key][1], answers[key][1]
    else:
        media, asked, context, right = row["image"], row["question"], row["context"], row["gpt_answer"]
    seen = upright(at, media)
    parts = (seen.part, TextPart("\n"), *_asked(asked, seen.part.width, seen.part.height))
    rule = rules[category]
    facts = {"asked": asked, "context": context, "role": rule["role"], "rule": rule["prompt"]}
    return question(NAME, f"{category}/{key[1]}", parts, right, category, **facts)


def _asked(text: str, width: int, height: int) -> list[Part]:
    """The question with its boxes, which run from 0 to 1, as regions in pixels."""
    parts: list[Part] = []
    for place, piece in enumerate(re.split(r"\[(.*?)\]", text)):
        if place % 2 == 0:
            parts += [TextPart(piece)] if piece else []
            continue
        try:
            x1, y1, x2, y2 = (float(number) for number in piece.split(","))
        except ValueError as error:
            raise SkipSample(f"[{piece}] in the question is no box of four numbers") from error
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise SkipSample(f"box [{piece}] in the question must lie between 0 and 1, with x1 < x2 and y1 < y2")
        parts.append(RegionPart(Box(x1 * width, y1 * height, x2 * width, y2 * height)))
    return parts


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """One question to the judge, in the form of Ferret's script."""
    role, shown = item.facts["role"], ferret_bench_answer(answer, item.task)
    told = (
        f"[Context]\n{item.facts['context']}\n\n[Question]\n{item.facts['asked']}\n\n"
        f"[{role} 1]\n{texts(item)[0]}\n\n[End of {role} 1]\n\n[{role} 2]\n{shown}\n\n[End of {role} 2]\n\n"
        f"[System]\n{item.facts['rule']}\n\n"
    )
    return [[{"role": "system", "content": HELPER}, {"role": "user", "content": told}]]


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """The model's and GPT-4's score, over 10; nothing of a review that cannot be read."""
    pair = two_scores(replies[0]) if replies else None
    if pair is None:
        return {"unreadable": 1.0} if answer.strip() and replies else {"model": 0.0, "unreadable": 0.0}
    return {"model": pair[1] / 10 if answer.strip() else 0.0, "reference": pair[0] / 10, "unreadable": 0.0}


def combine(table: Table) -> dict[str, Values]:
    """Ratios of means over all answers and by category, the mean of the latter, and the share of unreadable reviews."""
    tasks = [task for task in table.tasks if _known("model", task, table) and _known("reference", task, table)]
    ratios = {f"{METRIC} ({task})": _ratio(table, task) for task in tasks}
    unreadable = {"unreadable": 100 * table.mean("unreadable")}
    if not ratios:
        nothing = np.zeros_like(unreadable["unreadable"])
        return {METRIC: nothing, **unreadable}
    return {METRIC: _ratio(table), "mean_of_categories": np.mean(list(ratios.values()), axis=0), **ratios, **unreadable}


def _known(metric: str, task: str, table: Table) -> bool:
    return metric in table.metrics and table.count(metric, task) > 0


def _ratio(table: Table, task: str | None = None) -> Values:
    reference = table.mean("reference", task)
    return 100 * np.where(reference > 0, table.mean("model", task) / np.maximum(reference, 1e-300), 0.0)
