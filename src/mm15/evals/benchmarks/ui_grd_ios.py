"""Grd-i of Ferret-UI (arXiv 2404.05719): find a text, an icon and a widget on iPhone screens, by IoU >= 0.5.

``_ferret_ui`` says which files are read, and that they stand in for official ones. The reported number is the mean
of the three tasks; of several right boxes any counts. How lists of widgets are scored was not published: their F1
stands beside it and is ours.
"""

from __future__ import annotations

from mm15.base.types import Box
from mm15.evals.benchmarks._ferret_ui import FIND, LISTING, perfect_grounding, read_tasks, score_grounding
from mm15.evals.files import Files
from mm15.evals.items import Item, common_boxes
from mm15.evals.table import means_of_tasks

NAME = "ui-grd-ios"
SUITE = "ui"
CATEGORY = "ui"
METRIC = "acc_iou50"
SPLIT = "test"
MAX_NEW_TOKENS = 512
CHECKS = [
    ("[100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("the button [100, 200, 500, 600]", Box(80, 120, 230, 360), 0.0),
    ("in the upper left", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]


def read(files: Files) -> list[Item]:
    """The questions; the task is find text, find icon, find widget or widget listing."""
    return read_tasks(files, {**FIND, **LISTING}, tuple(FIND.values()))


score = score_grounding
combine = means_of_tasks
constants = common_boxes
perfect = perfect_grounding
