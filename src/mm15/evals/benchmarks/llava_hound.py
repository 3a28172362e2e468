"""LLaVA-Hound (arXiv 2404.01258), video questions: free answers about clips, right where a judge gives 3 of 5 or more.

Files: the authors' ``<set>.qa.jsonl`` (``id, video, caption, conversations``) of webvid, vidal and actnet (in domain),
ssv2, msrvtt, msvd and tgif (out of domain), beside the frames ``<video>/``. The judge sees the caption, as
``test/eval/eval_qa.py`` has it, and at most 256 words of an answer. Reported: the mean over the sets that are there, of
the share of right answers and of the score; what MM1.5 averages is not stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import hound_score
from mm15.evals.table import Table, Values

NAME = "llava-hound"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 1024
CHECKS: list[tuple[str, Any, float]] = []
RIGHT, BEST = 3.0, 5.0
"""Score from which an answer is right, and the highest."""
WORDS = 256
FOLDERS = ("", "video_data/test", "test", "videos", "frames")
SETS = ("webvid", "vidal", "actnet", "ssv2", "msrvtt", "msvd", "tgif")
ASKED = """\
Given the following inputs:

1. **Ground Truth Video Caption**: {caption}
2. **Question Related to the Caption**: {question}
3. **Ground Truth Answer**: {right}
4. **Model Predicted Answer**: {answer}

Your task is to evaluate the model's predicted answer against the ground truth answer, based on the context provided \
by the video caption and the question. Consider the following criteria for evaluation:

- **Relevance**: Does the predicted answer directly address the question posed, considering the information provided \
in the video caption?
- **Accuracy**: Compare the predicted answer to the ground truth answer. Does the prediction accurately reflect the \
information given in the ground truth answer without introducing factual inaccuracies?
- **Clarity**: Assess the clarity of the predicted answer. Look for issues such as repetition, unclear descriptions, \
or any grammatical errors that could hinder understanding.
- **Completeness**: Determine if the predicted answer fully covers the scope of the ground truth answer. Does it leave \
out critical information or does it include all necessary details?

**Output Format**:
Explanation: <brief judgement of prediction>
Score: <an integer score of quality from 1-5>"""

RELEASES = (
    Release(
        ("*.qa.jsonl", "video_instruction/test/*.qa.jsonl", "test/*.qa.jsonl"),
        ("id", "video", "caption", "conversations"),
    ),
)


def read(files: Files) -> list[Item]:
    """The questions of all sets that are there; the task is the set."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    task = at.file.split(".")[0]
    if task not in SETS:
        raise SkipSample(f"{at.file} is none of the sets {', '.join(SETS)}")
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) != 2:
        raise SkipSample("'conversations' holds one question and its answer")
    asked = re.sub(r"\s*<(?:video|image)>\s*", "", turns[0]["value"]).strip()
    parts = (find_clip(at, row["video"], FOLDERS), f"\n{asked}")
    return question(
        NAME, f"{task}/{row['id']}", parts, turns[1]["value"], task, row["video"], asked=asked, caption=row["caption"]
    )


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """One question to the judge; silence is not shown to it."""
    words = answer.split()
    if not words:
        return []
    shown = " ".join(words[:WORDS]) if len(words) > WORDS else answer
    caption, asked = item.facts["caption"], item.facts["asked"]
    return [
        (
            {
                "role": "user",
                "content": ASKED.format(caption=caption, question=asked, right=texts(item)[0], answer=shown),
            },
        )
    ]


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """Whether the score is 3 or more, and the score as a share of 5; what cannot be read is wrong."""
    found = hound_score(replies[0]) if replies else None
    rated = min(BEST, found) if found is not None else 0.0
    return {
        "accuracy": float(rated >= RIGHT),
        "score": rated / BEST,
        "unreadable": float(bool(replies) and found is None),
    }


def combine(table: Table) -> Mapping[str, Values]:
    """Means over the sets: accuracy in percent, the judge's score in its own points."""
    return {
        "accuracy": 100 * table.mean_of_tasks("accuracy"),
        "score": BEST * table.mean_of_tasks("score"),
        "unreadable": 100 * table.mean("unreadable"),
    }
