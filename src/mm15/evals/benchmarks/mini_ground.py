"""Find what a phrase names; the first box in the answer counts."""

from __future__ import annotations

from mm15.base.types import Box
from mm15.evals.files import Files
from mm15.evals.formats import read_format
from mm15.evals.items import Item, answer_boxes, common_boxes, score_boxes

NAME = "mini-ground"
SUITE = "mini"
CATEGORY = "refer_ground"
METRIC = "acc_iou50"
SPLIT = "heldout"
FILE = "ground.jsonl"
MAX_NEW_TOKENS = 64
CHECKS = [
    ("the dog [100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 240, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 230, 360), 0.0),
    ("[0, 0, 10, 10] [100, 200, 500, 600]", Box(80, 120, 400, 360), 0.0),
    ("[100, 200, 500", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]


def read(files: Files) -> list[Item]:
    """The held-out rows."""
    return read_format(files, FILE, "ferret-json", answer_boxes)


constants = common_boxes
score = score_boxes
