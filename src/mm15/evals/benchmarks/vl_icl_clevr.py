"""VL-ICL CLEVR Count Induction (arXiv 2403.13164): how many objects are so, by exact match.

Files: ``query.json`` and ``support.json`` of the authors' folder ``clevr``; see ``_vl_icl`` for the rest.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _vl_icl
from mm15.evals.benchmarks._vl_icl import MAX_NEW_TOKENS, Options
from mm15.evals.files import Files
from mm15.evals.items import Item
from mm15.evals.table import means_of_tasks as combine

__all__ = ["MAX_NEW_TOKENS", "Options", "combine"]

NAME = "vl-icl-clevr"
SUITE = "paper"
CATEGORY = "in_context"
METRIC = "accuracy"
SPLIT = "query"
TASK = "clevr"
ROWS = 200
CHECKS = [("3", "3", 1.0), ("3.", "3", 1.0), ("3 objects", "3", 0.0), ("", "3", 0.0)]


def read(files: Files) -> list[Item]:
    """The queries with every number of shots, which is the task."""
    return _vl_icl.read(files, TASK, ROWS)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after the authors' cut."""
    return _vl_icl.score(answer, item, TASK)
