"""What the LVIS-Ref benchmarks share: Ferret's file and question (arXiv 2310.07704, ``model_lvis.py``).

``*.jsonl``: ``image_path, width, height, bbox_norm`` (x1, y1, x2, y2 from 0 to 1), ``sample_point`` (pixels), ``name,
synonyms, neg_class``; pictures of COCO in ``val2017`` (``--set NAME.images=``), by the last part of ``image_path``. The
right name stands first in even rows. An answer that repeats the question is always right under Ferret's rule, and half
of all is chance; ``words`` is the stricter rule of ``lvis_ref``.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Box, Region, RegionPart
from mm15.datasets._regions import Annotated, annotated, size_of
from mm15.evals.benchmarks._refcoco import PictureOptions
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import lvis_names, lvis_ref

COLUMNS = ("image_path", "width", "height", "bbox_norm", "sample_point", "name", "synonyms", "neg_class")
RELEASES = (Release(("*.jsonl",), COLUMNS),)
CHECKS = [
    ("The object is a cat.", "cat", 1.0),
    ("It is not a cat, but a dog.", "cat", 0.0),
    ("a Cat", "cat", 0.0),
    ("a cat or a dog", "cat", 1.0),
    ("", "cat", 0.0),
]


class Options(PictureOptions):
    """What may be set under ``--set NAME.``"""

    images: str = "val2017"


def read_lvis(files: Files, benchmark: str, point: bool) -> list[Item]:
    """The questions, each about a box or a point."""

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        names = (row["name"], row["neg_class"])
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise SkipSample(f"'name' and 'neg_class' must be texts, found {names!r}")
        file = str(row["image_path"]).rpartition("/")[2]
        picture = annotated(at, f"{files.options.images}/{file}", *size_of(row))
        first, second = names if at.number % 2 == 0 else names[::-1]
        region = RegionPart(picture.point(row["sample_point"]) if point else _box(picture, row["bbox_norm"]))
        parts = (picture.part, "\nIs the object ", region, f" of the image a {first} or a {second}?")
        right = [name for name in lvis_names(row["name"], row["synonyms"]) if name]
        return question(benchmark, at.number, parts, right, group=file)

    return files.items(RELEASES, item)


def _box(picture: Annotated, numbers: object) -> Region:
    fits = isinstance(numbers, list) and len(numbers) == 4 and all(type(n) in (int, float) for n in numbers)
    if not fits or not isinstance(numbers, list):
        raise SkipSample(f"'bbox_norm' must be four numbers, found {numbers!r}")
    sides = (picture.width, picture.height) * 2
    box: Box = picture.box([n * side for n, side in zip(numbers, sides, strict=True)], "clip")
    return box


def score(answer: str, item: Item) -> dict[str, float]:
    """A name of the object stands in the answer: by Ferret's rule, and as whole words."""
    return {rule: lvis_ref(answer, texts(item), rule) for rule in ("ferret_compat", "words")}
