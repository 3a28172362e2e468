"""VL-ICL Fast Open MiniImageNet (arXiv 2403.13164): the made-up name of a class, by exact match.

Files: ``query.json`` and ``support.json`` of the authors' folder ``open_mi``; see ``_vl_icl`` for the rest.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _vl_icl
from mm15.evals.benchmarks._vl_icl import MAX_NEW_TOKENS
from mm15.evals.files import Files
from mm15.evals.items import Item
from mm15.evals.table import means_of_tasks as combine

__all__ = ["MAX_NEW_TOKENS", "combine"]

NAME = "vl-icl-open-mi"
SUITE = "paper"
CATEGORY = "in_context"
METRIC = "accuracy"
SPLIT = "query"
TASK = "open_mi"
ROWS = 200
CHECKS = [("dax", "dax", 1.0), ("Dax\nThis is a", "dax", 1.0), ("a dax", "dax", 0.0), ("", "dax", 0.0)]


class Options(_vl_icl.Options):
    """What a user may set; there are five pictures of a class."""

    shots: tuple[int, ...] = (0, 1, 2, 4, 5)


def read(files: Files) -> list[Item]:
    """The queries with every number of shots, which is the task."""
    return _vl_icl.read(files, TASK, ROWS)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after the authors' cut."""
    return _vl_icl.score(answer, item, TASK)
