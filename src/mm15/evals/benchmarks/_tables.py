"""Tables as pictures: the two shapes in which WikiTableQuestions and TabFact are handed out with pictures."""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart
from mm15.datasets._context import pictures
from mm15.evals.files import Release, RowAt

MARK = "<|image|>"


def docowl_turns(row: dict[str, Any], at: RowAt) -> tuple[ImagePart, str, str]:
    """Picture, question and right answer of a row of DocDownstream-1.0 (mPLUG-DocOwl 1.5, arXiv 2403.12895).

    Raises:
        SkipSample: not one picture, one question and one answer.
    """
    images, turns = pictures(row, at), row["messages"]
    said = [(turn.get("role"), turn.get("content")) for turn in turns if isinstance(turn, dict)]
    if len(images) != 1 or [role for role, _ in said] != ["user", "assistant"]:
        raise SkipSample(f"expected one picture, a question and an answer; found {len(images)} pictures, turns {turns}")
    (_, asked), (_, right) = said
    if not isinstance(asked, str) or not isinstance(right, str) or not right.strip():
        raise SkipSample(f"question and answer must be texts, found {turns}")
    return images[0], asked.replace(MARK, "").strip(), right.strip()


def tablevqa_releases(split: str, rows: int) -> tuple[Release, ...]:
    """The shapes of one split of TableVQA-Bench; the third column holds the right answer."""
    return (
        Release((f"{split}-*.parquet", f"data/{split}-*.parquet"), ("image", "question", "gt"), rows, ("image",)),
        Release(
            ("TableVQABench*.tsv", "tablevqa-bench*.tsv"),
            ("image", "question", "answer", "index"),
            rows,
            ("image",),
            {"split": split},
        ),
    )
