"""Ref-i of Ferret-UI (arXiv 2404.05719): text, icon and widget at a box of an iPhone screen, by exact match.

``_ferret_ui`` says which files are read, and that they stand in for official ones. The reported number is the mean
of the three tasks by exact match; containment stands beside it.
"""

from __future__ import annotations

from mm15.evals.benchmarks.ui_ref_android import (
    CATEGORY,
    CHECKS,
    MAX_NEW_TOKENS,
    METRIC,
    SPLIT,
    SUITE,
    combine,
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
    "read",
    "score",
]

NAME = "ui-ref-ios"
