"""VL-ICL Interleaved Operator Induction (arXiv 2403.13164): one number per picture, by exact match.

Files: ``query.json`` and ``support.json`` of the authors' folder ``operator_induction_interleaved``;
``_vl_icl`` says the rest.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _vl_icl
from mm15.evals.benchmarks._vl_icl import MAX_NEW_TOKENS, Options
from mm15.evals.files import Files
from mm15.evals.items import Item
from mm15.evals.table import means_of_tasks as combine

__all__ = ["MAX_NEW_TOKENS", "Options", "combine"]

NAME = "vl-icl-operator-interleaved"
SUITE = "paper"
CATEGORY = "in_context"
METRIC = "accuracy"
SPLIT = "query"
TASK = "operator_induction_interleaved"
ROWS = 0
CHECKS = [("12", "12", 1.0), ("It is 12.", "12", 1.0), ("21", "12", 0.0), ("", "12", 0.0)]


def read(files: Files) -> list[Item]:
    """The queries with every number of shots, which is the task."""
    return _vl_icl.read(files, TASK, ROWS)


def score(answer: str, item: Item) -> dict[str, float]:
    """Exact match after the authors' cut."""
    return _vl_icl.score(answer, item, TASK)
