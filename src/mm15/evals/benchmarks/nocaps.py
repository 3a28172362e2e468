"""NoCaps (arXiv 1812.08658), validation split, few-shot: captions of 4,500 pictures of novel objects, by CIDEr.

Files: the parquet release (``image, annotations_captions``), or the authors' ``nocaps_val_4500_captions.json`` beside
``val/``. It has no training split: demonstrations come from COCO's, in the folder of ``coco-caption``.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from mm15.evals.benchmarks import _few_shot, coco_caption
from mm15.evals.files import Files, Release, RowAt, read_rows
from mm15.evals.items import Item

NAME = "nocaps"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "cider"
SPLIT = "val"
MAX_NEW_TOKENS = 32
CHECKS = coco_caption.CHECKS

RELEASES = (
    Release(
        ("validation*.parquet", "data/validation*.parquet"),
        ("image", "annotations_captions", "image_id"),
        4500,
        ("image",),
    ),
    Release(("nocaps_val_4500_captions.json",), ("id", "file_name"), 4500, field="images", name="authors"),
)


def read(files: Files) -> list[Item]:
    """The pictures of the split, each with every number of demonstrations; the task is that number."""

    @cache
    def captions(file: Path) -> dict[Any, list[str]]:
        found: dict[Any, list[str]] = defaultdict(list)
        for _, row in read_rows(file, "annotations"):
            found[row["image_id"]].append(row["caption"])
        return found

    def make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        if at.source != NAME:
            return coco_caption.make(row, at, release)
        if release.name == "authors":
            picture, right = f"val/{row['file_name']}", captions(files.folder / at.file).get(row["id"], [])
        else:
            picture, right = row["image"], row["annotations_captions"]
        return _few_shot.shown_with(at, picture, "", _few_shot.caption_list(right))

    return _few_shot.few_shot(
        files, RELEASES, coco_caption.TRAIN, make, _few_shot.write_caption, source=coco_caption.NAME
    )


Options = _few_shot.Options
score_all = _few_shot.caption_scores
combine = _few_shot.combine_captions


def score(answer: str, item: Item) -> dict[str, float]:
    """Of one picture: see ``score_all``."""
    return _few_shot.caption_scores([answer], [item])[0]
