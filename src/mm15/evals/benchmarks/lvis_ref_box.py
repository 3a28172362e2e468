"""LVIS-Ref of Ferret (arXiv 2310.07704), by box: which of two things lies there, by a name that stands in the answer.

Files, question and rules: ``_lvis``.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _lvis
from mm15.evals.files import Files
from mm15.evals.items import Item

NAME = "lvis-ref-box"
SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "ferret_compat"
SPLIT = "val"
MAX_NEW_TOKENS = 64
CHECKS = _lvis.CHECKS
Options = _lvis.Options


def read(files: Files) -> list[Item]:
    """The questions, each about a box."""
    return _lvis.read_lvis(files, NAME, point=False)


score = _lvis.score
