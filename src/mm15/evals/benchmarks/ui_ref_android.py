"""Ref-A of Ferret-UI (arXiv 2404.05719): text, icon and widget at a box of an Android screen, by exact match.

``_ferret_ui`` says which files are read, and that they stand in for official ones. The reported number is the mean
of the three tasks by exact match; containment stands beside it.
"""

from __future__ import annotations

from mm15.evals.benchmarks._ferret_ui import REFER, read_tasks, score_referring
from mm15.evals.files import Files
from mm15.evals.items import Item
from mm15.evals.table import means_of_tasks

NAME = "ui-ref-android"
SUITE = "ui"
CATEGORY = "ui"
METRIC = "exact_match"
SPLIT = "test"
MAX_NEW_TOKENS = 64
CHECKS = [("Sign in", "sign in", 1.0), ('It says "Sign in"', "Sign in", 0.0), ("", "Button", 0.0)]


def read(files: Files) -> list[Item]:
    """The questions; the task is ocr, icon recognition or widget classification."""
    return read_tasks(files, REFER, tuple(REFER.values()))


score = score_referring
combine = means_of_tasks
