"""Grd-i of Ferret-UI (arXiv 2404.05719): find a text, an icon and a widget on iPhone screens, by IoU >= 0.5.

``_ferret_ui`` says which files are read, and that they stand in for official ones. The reported number is the mean
of the three tasks; of several right boxes any counts. How lists of widgets are scored was not published: their F1
stands beside it and is ours.
"""

from __future__ import annotations

from mm15.evals.benchmarks.ui_grd_android import (
    CATEGORY,
    CHECKS,
    MAX_NEW_TOKENS,
    METRIC,
    SPLIT,
    SUITE,
    combine,
    constants,
    perfect,
    read,
    score,
)

__all__ = [
    "CATEGORY",
    "CHECKS",
    "MAX_NEW_TOKENS",
    "METRIC",
    "SPLIT",
    "SUITE",
    "combine",
    "constants",
    "perfect",
    "read",
    "score",
]

NAME = "ui-grd-ios"
