"""RefCOCO+ (arXiv 1608.00272), testA and testB: as RefCOCO, with expressions that name no place, by IoU >= 0.5.

Files and question: ``_refcoco``. The reported number is the mean of testA and testB; ``val`` stands beside them where
``splits`` names it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mm15.base.types import Box
from mm15.evals.benchmarks._refcoco import Expressions, PictureOptions, mean_of_test_splits
from mm15.evals.items import common_boxes, score_boxes

NAME = "refcoco-plus"
SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "acc_iou50"
SPLIT = "testA, testB"
MAX_NEW_TOKENS = 64
CHECKS = [
    ("the left dog [100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 230, 360), 0.0),
    ("[0, 0, 10, 10], [100, 200, 500, 600]", Box(80, 120, 400, 360), 0.0),
    ("(0.1, 0.2, 0.5, 0.6)", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]
FILES = Expressions(
    NAME,
    "refs(unc).p",
    "finetune_refcoco+_{}.json",
    {"val": 3805, "testA": 1975, "testB": 1798},
    {"val": 10758, "testA": 5726, "testB": 4889},
)


class Options(PictureOptions):
    """What may be set under ``--set refcoco-plus.``"""

    splits: tuple[Literal["val", "testA", "testB"], ...] = Field(("testA", "testB"), min_length=1)


read = FILES.read
combine = mean_of_test_splits
constants = common_boxes
score = score_boxes
