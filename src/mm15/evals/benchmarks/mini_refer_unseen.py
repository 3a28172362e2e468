"""Name what lies in a box or at a point: objects whose names and drawings no training picture shows. Reported apart."""

from __future__ import annotations

from mm15.evals.benchmarks.mini_refer import (
    CATEGORY,
    CHECKS,
    FORMAT,
    MAX_NEW_TOKENS,
    METRIC,
    constants,
    references,
    score,
)

__all__ = ["CATEGORY", "CHECKS", "FORMAT", "MAX_NEW_TOKENS", "METRIC", "constants", "references", "score"]

NAME = "mini-refer-unseen"
FILE = "refer_unseen.jsonl"
COUNTS_IN_AVERAGE = False
