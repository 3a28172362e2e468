"""TextCaps (arXiv 2003.12462), validation split, few-shot: captions that read the text in 3,166 pictures, by CIDEr.

Files: the parquet release (``image, image_id, caption_str``; ``val-*`` and ``train-*``), or the authors'
``TextCaps_0.1_val.json`` and ``TextCaps_0.1_train.json`` with one row per caption (``image_id, reference_strs``) beside
``train_images/``. Demonstrations come from the training split.
"""

from __future__ import annotations

from typing import Any

from mm15.evals.benchmarks import _few_shot, coco_caption
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item

NAME = "textcaps"
SUITE = "few-shot"
CATEGORY = "few_shot"
METRIC = "cider"
SPLIT = "val"
MAX_NEW_TOKENS = 32
CHECKS = coco_caption.CHECKS
COLUMNS = ("image", "image_id", "caption_str")
AUTHORS = ("image_id", "reference_strs")

RELEASES = (
    Release(("val*.parquet", "data/val*.parquet"), COLUMNS, 3166, ("image",)),
    Release(("TextCaps_*_val.json",), AUTHORS, 15830, name="authors"),
)
TRAIN = (
    Release(("train*.parquet", "data/train*.parquet"), COLUMNS, 0, ("image",)),
    Release(("TextCaps_*_train.json",), AUTHORS, name="authors"),
)


def read(files: Files) -> list[Item]:
    """The pictures of the split, each with every number of demonstrations; the task is that number."""
    seen: set[tuple[str, str]] = set()

    def make(row: dict[str, Any], at: RowAt, release: Release) -> Item | list[Item]:
        if release.name != "authors":
            return _few_shot.shown_with(at, row["image"], "", _few_shot.caption_list(row["caption_str"]))
        name = (at.file, str(row["image_id"]))
        if name in seen:
            return []  # every row of a picture holds all its captions
        seen.add(name)
        return _few_shot.shown_with(
            at, f"train_images/{row['image_id']}.jpg", "", _few_shot.caption_list(row["reference_strs"])
        )

    return _few_shot.few_shot(files, RELEASES, TRAIN, make, _few_shot.write_caption)


Options = _few_shot.Options
score_all = _few_shot.caption_scores
combine = _few_shot.combine_captions


def score(answer: str, item: Item) -> dict[str, float]:
    """Of one picture: see ``score_all``."""
    return _few_shot.caption_scores([answer], [item])[0]
