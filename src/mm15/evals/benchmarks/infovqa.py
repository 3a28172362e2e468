"""InfographicVQA (arXiv 2104.12756), validation split: 2,801 questions about infographics, by ANLS.

The paper reports the test split, whose answers are secret: ``--set infovqa.split=test`` answers it and writes the file
for the server. Files: the parquet release (``questionId, question, answers, image``; also in ``InfographicVQA/``), the
authors' ``infographicsVQA_val_v1.0_withQT.json`` (``infographicsVQA_test_v1.0.json``) beside
``infographicsvqa_images/``, or VLMEvalKit's ``InfoVQA_VAL.tsv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mm15.evals.benchmarks import _documents
from mm15.evals.files import Files, Release
from mm15.evals.items import Item

NAME = "infovqa"
SUITE = "paper"
CATEGORY = "text_rich"
METRIC = "anls"
SPLIT = "validation"
MAX_NEW_TOKENS = 32
CHECKS = _documents.CHECKS
PICTURES = "infographicsvqa_images"

RELEASES = (
    Release(
        ("validation*.parquet", "data/validation*.parquet", "InfographicVQA/validation*.parquet"),
        ("questionId", "question", "answers", "image"),
        2801,
        ("image",),
    ),
    Release(
        ("infographicsVQA_val_v1.0*.json",),
        ("questionId", "question", "answers", "image_local_name"),
        2801,
        name=PICTURES,
    ),
    Release(("InfoVQA_VAL*.tsv",), ("index", "question", "answer", "image"), 2801, ("image",)),
)
TEST = (
    Release(
        ("test*.parquet", "data/test*.parquet", "InfographicVQA/test*.parquet"),
        ("questionId", "question", "image"),
        3288,
        ("image",),
    ),
    Release(("infographicsVQA_test_v1.0.json",), ("questionId", "question", "image_local_name"), 3288, name=PICTURES),
)
Options = _documents.Options
score = _documents.score


def read(files: Files) -> list[Item]:
    """The questions of the validation split, or of the test split without right answers."""
    return _documents.read_documents(files, RELEASES, TEST)


def submission(answers: Sequence[str], items: Sequence[Item]) -> dict[str, Any]:
    """The answers of the test split for the server."""
    return _documents.submission(NAME, answers, items)
