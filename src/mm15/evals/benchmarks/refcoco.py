"""RefCOCO (arXiv 1608.00272), testA and testB: find what an expression means, by boxes with IoU >= 0.5.

Files and question: ``_refcoco``. The reported number is the mean of testA and testB; ``val`` stands beside them where
``splits`` names it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mm15.evals.benchmarks._refcoco import (
    CATEGORY,
    CHECKS,
    MAX_NEW_TOKENS,
    METRIC,
    SUITE,
    Expressions,
    PictureOptions,
    combine,
    constants,
    score,
)

__all__ = ["CATEGORY", "CHECKS", "MAX_NEW_TOKENS", "METRIC", "SUITE", "combine", "constants", "score"]

NAME = "refcoco"
SPLIT = "testA, testB"
FILES = Expressions(
    NAME,
    "refs(unc).p",
    "finetune_refcoco_{}.json",
    {"val": 8811, "testA": 1975, "testB": 1810},
    {"val": 10834, "testA": 5657, "testB": 5095},
)


class Options(PictureOptions):
    """What may be set under ``--set refcoco.``"""

    splits: tuple[Literal["val", "testA", "testB"], ...] = Field(("testA", "testB"), min_length=1)


read = FILES.read
