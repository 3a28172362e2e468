"""LLaVA-Bench in the Wild (arXiv 2304.08485): 60 questions about 24 pictures, judged beside answers of GPT-4; ratio.

The judge sees a description of the picture, the question, GPT-4's answer and the model's, and gives both a score from 1
to 10. ``relative_score`` is 100 times the mean of the model's scores over the mean of GPT-4's, over all questions and
by category (conv, detail, complex). A review that cannot be read counts in neither mean; ``readable`` is the share of
those that could. An empty answer is not shown to the judge: it counts 0 in the model's mean.

Files: the authors' ``questions.jsonl``, ``context.jsonl`` and ``answers_gpt4.jsonl`` beside ``images/``, the parquet
release of lmms-lab, or VLMEvalKit's ``LLaVABench.tsv``. The prompt is the question; the judge's is the authors'
(``eval_gpt_review_bench.py`` and ``rule.json``), in which the three categories have the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mm15.base.errors import SkipSample
from mm15.evals.files import Files, Release, RowAt, read_rows
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import two_scores
from mm15.evals.table import Table, Values

NAME = "llava-w"
SUITE = "paper"
CATEGORY = "general"
METRIC = "relative_score"
SPLIT = "test"
MAX_NEW_TOKENS = 1024
CHECKS: list[tuple[str, str, float]] = []
TASKS = ("conv", "detail", "complex")
SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
RULE = (
    "We would like to request your feedback on the performance of two AI assistants in response to the user question "
    "displayed above. The user asks the question on observing an image. For your reference, the visual content in the "
    "image is represented with a few sentences describing the image. \nPlease rate the helpfulness, relevance, "
    "accuracy, level of details of their responses. Each assistant receives an overall score on a scale of 1 to 10, "
    "where a higher score indicates better overall performance.\nPlease first output a single line containing only two "
    "values indicating the scores for Assistant 1 and 2, respectively. The two scores are separated by a space.\nIn "
    "the subsequent line, please provide a comprehensive explanation of your evaluation, avoiding any potential bias "
    "and ensuring that the order in which the responses were presented does not affect your judgment."
)

RELEASES = (
    Release(("questions.jsonl",), ("question_id", "image", "text", "category"), 60, name="authors"),
    Release(
        ("train*.parquet", "data/train*.parquet"),
        ("question", "image", "category", "caption", "gpt_answer"),
        60,
        ("image",),
    ),
    Release(
        ("LLaVABench.tsv",),
        ("index", "image", "question", "category", "caption", "gpt4_ans"),
        60,
        ("image",),
        name="table",
    ),
)


def read(files: Files) -> list[Item]:
    """The questions; the reference is GPT-4's answer, the task the category, the group the picture.

    Raises:
        DataError: see ``Files.items``; or the authors' other two files are absent.
    """
    captions: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    if files.release(RELEASES)[0].name == "authors":
        captions = {str(row.get("image")): row for _, row in read_rows(files.folder / "context.jsonl")}
        answers = {str(row.get("question_id")): row for _, row in read_rows(files.folder / "answers_gpt4.jsonl")}
    return files.items(RELEASES, partial(_item, captions=captions, answers=answers))


def _item(row: dict[str, Any], at: RowAt, release: Release, captions: dict[str, Any], answers: dict[str, Any]) -> Item:
    if release.name == "authors":
        asked, group = row["text"], str(row["image"])
        picture = at.image(f"images/{group}")
        caption = captions.get(group, {}).get("caption")
        right = answers.get(str(row["question_id"]), {}).get("text")
    else:
        asked, caption, picture = row["question"], row["caption"], at.image(row["image"])
        right = row["gpt4_ans" if release.name == "table" else "gpt_answer"]
        group = str(row.get("image_id") or caption)
    absent = [
        name for name, value in (("description of the picture", caption), ("answer of GPT-4", right)) if not value
    ]
    if absent:
        raise SkipSample(f"no {' and no '.join(absent)}")
    if row["category"] not in TASKS:
        raise SkipSample(f"unknown category {row['category']!r}; known: {', '.join(TASKS)}")
    caption = "\n".join(caption) if isinstance(caption, list) else str(caption)
    return question(
        NAME, at.number, (picture, f"\n{asked}"), str(right), row["category"], group, caption=caption, asked=asked
    )


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """One review of both answers; none of an empty one."""
    if not answer.strip():
        return []
    (reference,) = texts(item)
    content = (
        f"[Context]\n{item.facts['caption']}\n\n[Question]\n{item.facts['asked']}\n\n"
        f"[Assistant 1]\n{reference}\n\n[End of Assistant 1]\n\n"
        f"[Assistant 2]\n{answer}\n\n[End of Assistant 2]\n\n[System]\n{RULE}\n\n"
    )
    return [[{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]]


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """Both scores as parts of 10."""
    if not replies:
        return {"model": 0.0}
    found = two_scores(replies[0])
    if found is None:
        return {"readable": 0.0}
    return {"model": found[1] / 10, "gpt4": found[0] / 10, "readable": 1.0}


def combine(table: Table) -> dict[str, Values]:
    """The ratio of the means over all questions, and in each category."""
    result = {METRIC: _ratio(table, None)}
    result |= {f"{METRIC} ({task})": _ratio(table, task) for task in TASKS if task in table.tasks}
    if "readable" in table.metrics:
        result["readable"] = 100 * table.mean("readable")
    return result


def _ratio(table: Table, task: str | None) -> Values:
    """0 where no review of an answer could be read."""
    if not {"model", "gpt4"} <= set(table.metrics):
        return 0 * table.mean(table.metrics[0])
    model, gpt4 = table.mean("model", task), table.mean("gpt4", task)
    return 100 * np.divide(model, gpt4, out=np.zeros_like(model), where=gpt4 > 0)
