"""VL-ICL TextOCR (arXiv 2403.13164): the text in a red box, by exact match.

Files: ``query.json`` and ``support.json`` of the authors' folder ``textocr``; see ``_vl_icl`` for the rest.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _vl_icl
from mm15.evals.benchmarks._vl_icl import MAX_NEW_TOKENS, Options
from mm15.evals.files import Files
from mm15.evals.items import Item
from mm15.evals.table import means_of_tasks as combine

__all__ = ["MAX_NEW_TOKENS", "Options", "combine"]

NAME = "vl-icl-textocr"
SUITE = "paper"
CATEGORY = "in_context"
METRIC = "accuracy"
SPLIT = "query"
TASK = "textocr"
ROWS = 0
CHECKS = [("Exit", "EXIT", 1.0), ("Exit. The", "exit", 1.0), ("exits", "exit", 0.0), ("", "exit", 0.0)]


def read(files: Files) -> list[Item]:
    """The queries with every number of shots, which is the task."""
    return _vl_icl.read(files, TASK, ROWS)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after the authors' cut."""
    return _vl_icl.score(answer, item, TASK)
