"""What the RefCOCO benchmarks share: their files, their question and the mean over their splits.

Ferret's question and rule (arXiv 2310.07704, ``model_refcoco.py``, ``eval_refexp.py``): commas leave the expression,
the first box of the answer counts. Expressions of one picture share a group. Files of a split, the first that is
there:

    refs(unc).p, instances.json          of REFER; umd for RefCOCOg; read without running the pickle
    finetune_refcoco_testA.json          of MDETR and Ferret, one expression per "image"; may lie one folder down
    data/testA-*.parquet                 lmms-lab/RefCOCO: question_id, image, question, answer (list), bbox, file_name

Pictures of the first two lie in ``train2014`` (``--set NAME.images=``). In the parquet files ``val`` also holds the
expressions of Google's split, so its number is not that of the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mm15.base.config import Strict
from mm15.base.errors import DataError, SkipSample
from mm15.base.types import Box
from mm15.datasets import coco_refs
from mm15.datasets._context import upright
from mm15.datasets._regions import Annotated, annotated, from_xywh, size_of
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, common_boxes, question, score_boxes
from mm15.evals.table import Table, Values

SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "acc_iou50"
MAX_NEW_TOKENS = 64
CHECKS = [
    ("the left dog [100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("[100, 200, 500, 600]", Box(80, 120, 230, 360), 0.0),
    ("[0, 0, 10, 10], [100, 200, 500, 600]", Box(80, 120, 400, 360), 0.0),
    ("(0.1, 0.2, 0.5, 0.6)", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]
PARQUET = ("question_id", "image", "answer", "bbox", "file_name")
JOINED = ("file_name", "caption", "boxes")


class PictureOptions(Strict):
    """What the benchmarks on COCO's pictures have in common under ``--set NAME.``"""

    images: str = "train2014"
    """Folder of the pictures, below the benchmark's own, where they are not in the rows."""


@dataclass(frozen=True, slots=True)
class Expressions:
    """The files of one of the three.

    Args:
        benchmark: its name.
        refs: the pickle of REFER.
        json: MDETR's file of a split, with ``{}`` for it.
        objects: split → rows of the parquet release.
        expressions: split → expressions.
    """

    benchmark: str
    refs: str
    json: str
    objects: Mapping[str, int]
    expressions: Mapping[str, int]

    def read(self, files: Files) -> list[Item]:
        """The expressions of the wanted splits; the task is the split.

        Raises:
            DataError: a split that is not there, or what ``Files.items`` finds; those of all splits together.
        """
        items: list[Item] = []
        problems = []
        for split in files.options.splits:
            try:
                items += files.items(self._releases(split, files.options.images), partial(self._items, split))
            except DataError as error:
                problems.append(str(error))
        if problems:
            raise DataError("\n".join(problems))
        return items

    def _releases(self, split: str, images: str) -> tuple[Release, ...]:
        pickled = coco_refs.Options.model_validate({"mode": "refer-pickle", "split": split, "images": images})
        joined = coco_refs.Options.model_validate({"mode": "mdetr-json", "images": images})
        json, count = self.json.format(split), self.expressions[split]
        return (
            Release((self.refs,), JOINED, count, open=lambda path: coco_refs.open_rows(path, pickled)),
            Release((json, f"*/{json}"), JOINED, count, open=lambda path: coco_refs.open_rows(path, joined)),
            Release(
                (f"data/{split}-*.parquet", f"{split}-*.parquet"), PARQUET, self.objects[split], ("image",), name="hub"
            ),
        )

    def _items(self, split: str, row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
        if release.name == "hub":
            seen = upright(at, row["image"])
            picture = Annotated(seen.part, seen.width, seen.height, seen.orientation)
            said, boxes = row["answer"], [row["bbox"]]
        else:
            picture = annotated(at, row["file_name"], *size_of(row))
            said, boxes = [row["caption"]], row["boxes"]
        if not isinstance(said, list) or not said or not all(isinstance(text, str) and text.strip() for text in said):
            raise SkipSample(f"expected expressions, found {said!r}")
        if not boxes:
            raise SkipSample(f"the expression {said[0]!r} has no box")
        right = [picture.box(from_xywh(box), "clip") for box in boxes]
        return [
            question(
                self.benchmark,
                f"{split}/{at.number}.{number}" if release.name == "hub" else f"{split}/{at.number}",
                (picture.part, f"\nWhat is the location of {' '.join(text.replace(',', '').split())} in the image?"),
                right,
                split,
                _picture_id(row["file_name"]),
            )
            for number, text in enumerate(said)
        ]


def _picture_id(name: object) -> str:
    """Of COCO's picture: file names of REFER end in the number of the annotation."""
    found = re.search(r"COCO_[a-z0-9]+_\d+", str(name))
    return found[0] if found else str(name)


def combine(table: Table) -> dict[str, Values]:
    """100 times the mean over the test splits of every metric; over the others where no test split was asked for."""
    splits = [task for task in table.tasks if task.startswith("test")] or table.tasks
    return {metric: 100 * np.mean([table.mean(metric, one) for one in splits], axis=0) for metric in table.metrics}


constants = common_boxes
score = score_boxes
