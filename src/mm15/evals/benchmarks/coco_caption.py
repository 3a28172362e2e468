"""COCO captions (arXiv 1504.00325), Karpathy test split, few-shot: 5,000 pictures, by CIDEr.

Files: ``dataset_coco.json`` (Karpathy and Fei-Fei, arXiv 1412.2306: ``filepath, filename, split, sentences``) beside
``train2014/`` and ``val2014/``. Demonstrations come from its rows of ``train``.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks import _few_shot
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item

NAME = "coco-caption"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "cider"
SPLIT = "Karpathy test"
MAX_NEW_TOKENS = 32
CHECKS = [
    ("a red bus\nA photo of", ("a red bus", "one bus"), 1.0),
    ("nothing", ("a red bus", "one bus"), 0.0),
    ("", "a red bus", 0.0),
]
COLUMNS = ("filepath", "filename", "sentences", "cocoid")

RELEASES = (Release(("dataset_coco.json",), COLUMNS, 5000, only={"split": "test"}),)
TRAIN = (Release(("dataset_coco.json",), COLUMNS, only={"split": "train"}),)


def read(files: Files) -> list[Item]:
    """The pictures of the split, each with every number of demonstrations; the task is that number."""
    return _few_shot.few_shot(files, RELEASES, TRAIN, make, _few_shot.write_caption)


def make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    """A picture and its captions."""
    del release
    captions = [sentence.get("raw") for sentence in row["sentences"]]
    return _few_shot.shown_with(at, f"{row['filepath']}/{row['filename']}", "", _few_shot.caption_list(captions))


Options = _few_shot.Options
score_all = _few_shot.caption_scores
combine = _few_shot.combine_captions


def score(answer: str, item: Item) -> dict[str, float]:
    """Of one picture: see ``score_all``."""
    return _few_shot.caption_scores([answer], [item])[0]
