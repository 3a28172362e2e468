"""RefCOCOg (arXiv 1511.02283), test split of UMD: as RefCOCO, with long expressions, by boxes with IoU >= 0.5.

Files and question: ``_refcoco``. ``val`` stands beside the test split where ``splits`` names it.
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

NAME = "refcocog"
SPLIT = "test (umd)"
FILES = Expressions(
    NAME,
    "refs(umd).p",
    "finetune_refcocog_{}.json",
    {"val": 7573, "test": 5023},
    {"val": 4896, "test": 9602},
)


class Options(PictureOptions):
    """What may be set under ``--set refcocog.``"""

    splits: tuple[Literal["val", "test"], ...] = Field(("test",), min_length=1)


read = FILES.read
