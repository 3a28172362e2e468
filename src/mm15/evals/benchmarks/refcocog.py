"""RefCOCOg (arXiv 1511.02283), test split of UMD: as RefCOCO, with long expressions, by boxes with IoU >= 0.5.

Files and question: ``_refcoco``. ``val`` stands beside the test split where ``splits`` names it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mm15.base.types import Box
from mm15.evals.benchmarks._refcoco import Expressions, PictureOptions, mean_of_test_splits
from mm15.evals.items import common_boxes, score_boxes

NAME = "refcocog"
SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "acc_iou50"
SPLIT = "test (umd)"
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
    "refs(umd).p",
    "finetune_refcocog_{}.json",
    {"val": 7573, "test": 5023},
    {"val": 4896, "test": 9602},
)


class Options(PictureOptions):
    """What may be set under ``--set refcocog.``"""

    splits: tuple[Literal["val", "test"], ...] = Field(("test",), min_length=1)


read = FILES.read
combine = mean_of_test_splits
constants = common_boxes
score = score_boxes
