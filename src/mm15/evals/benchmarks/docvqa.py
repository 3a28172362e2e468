"""DocVQA (arXiv 2007.00398), validation split: 5,349 questions about scanned pages, by ANLS.

The paper reports the test split, whose answers are secret: ``--set docvqa.split=test`` answers it and writes the file
for the server. Files: the parquet release (``questionId, question, docId, answers, image``; also in ``DocVQA/``), the
authors' ``val_v1.0.json`` or ``val_v1.0_withQT.json`` (``test_v1.0.json``) beside ``documents/``, or VLMEvalKit's
``DocVQA_VAL.tsv`` (``DocVQA_TEST.tsv``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mm15.evals.benchmarks import _documents
from mm15.evals.files import Files, Release
from mm15.evals.items import Item

NAME = "docvqa"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "anls"
SPLIT = "validation"
MAX_NEW_TOKENS = 32
CHECKS = _documents.CHECKS
COLUMNS = ("questionId", "question", "answers", "image")

RELEASES = (
    Release(
        ("validation*.parquet", "data/validation*.parquet", "DocVQA/validation*.parquet"), COLUMNS, 5349, ("image",)
    ),
    Release(("val_v1.0_withQT.json",), COLUMNS, 5349),
    Release(("val_v1.0.json",), COLUMNS, 5349),
    Release(("DocVQA_VAL*.tsv",), ("index", "question", "answer", "image"), 5349, ("image",)),
)
TEST = (
    Release(
        ("test*.parquet", "data/test*.parquet", "DocVQA/test*.parquet"),
        ("questionId", "question", "image"),
        5188,
        ("image",),
    ),
    Release(("test_v1.0.json",), ("questionId", "question", "image"), 5188),
)
Options = _documents.Options
score = _documents.score


def read(files: Files) -> list[Item]:
    """The questions of the validation split, or of the test split without right answers."""
    return _documents.read_documents(files, RELEASES, TEST)


def submission(answers: Sequence[str], items: Sequence[Item]) -> dict[str, Any]:
    """The answers of the test split for the server."""
    return _documents.submission(NAME, answers, items)
