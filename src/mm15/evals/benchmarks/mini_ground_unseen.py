"""Find what a phrase names: objects whose names and drawings no training picture shows. Reported apart."""

from __future__ import annotations

from mm15.base.types import Box
from mm15.evals.benchmark import answer_boxes, common_boxes, score_boxes

NAME = "mini-ground-unseen"
CATEGORY = "refer_ground"
METRIC = "acc_iou50"
FILE = "ground_unseen.jsonl"
FORMAT = "ferret-json"
MAX_NEW_TOKENS = 64
COUNTS_IN_AVERAGE = False
CHECKS = [
    ("the dog [100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 240, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 230, 360), 0.0),
    ("[0, 0, 10, 10] [100, 200, 500, 600]", Box(80, 120, 400, 360), 0.0),
    ("[100, 200, 500", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]

references = answer_boxes
constants = common_boxes
score = score_boxes
