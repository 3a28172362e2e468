"""What ScreenSpot and ScreenSpot-v2 share: an instruction, the element that carries it out, and where one would click.

The middle of the first box in the answer, or the first point, must lie in the element's box. The reported number is
over all instructions, as lmms-eval has it (``tasks/screenspot/utils_rec.py``); the mean over the six kinds (mobile,
desktop and web; text and icon), which SeeClick's table averages, stands beside it.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Box
from mm15.datasets._context import upright
from mm15.datasets._regions import clip_or_refuse, from_xywh
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, boxes, question
from mm15.evals.scoring import centre_in_box, grounding_accuracy
from mm15.evals.table import Table, Values
from mm15.text.regions import parse_regions

METRIC = "centre_in_box"
MAX_NEW_TOKENS = 64
CHECKS = [
    ("[100, 200, 500, 600]", Box(80, 120, 400, 360), 1.0),
    ("click at [300, 400]", Box(80, 120, 400, 360), 1.0),
    ("[0, 0, 600, 800]", Box(80, 120, 400, 360), 1.0),
    ("[0, 0, 100, 100] [300, 400]", Box(80, 120, 400, 360), 0.0),
    ("", Box(80, 120, 400, 360), 0.0),
]
PLATFORMS = {"ios": "mobile", "android": "mobile", "macos": "desktop", "windows": "desktop"}
"""``data_source`` → kind of machine; all others are web pages."""
SHARED = ("bbox", "instruction", "data_type", "data_source")
HUB = Release(("data/test*.parquet", "test*.parquet"), ("image", "file_name", *SHARED), 1272, ("image",), name="hub")
"""Boxes x1, y1, x2, y2 from 0 to 1."""


def authors(pattern: str, images: str, rows: int = 0) -> Release:
    """The authors' files: boxes x, y, width, height in pixels, pictures in the folder ``images``."""
    return Release((pattern, f"*/{pattern}"), ("img_filename", *SHARED), rows, name=images)


def read_screens(files: Files, benchmark: str, releases: tuple[Release, ...]) -> list[Item]:
    """The instructions; the task is the kind of machine and of element."""

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        hub = release is HUB
        file = row["file_name"] if hub else row["img_filename"]
        seen = upright(at, row["image"] if hub else f"{release.name}/{file}")
        width, height = seen.width, seen.height
        numbers = row["bbox"]
        if hub:
            if not isinstance(numbers, list) or len(numbers) != 4:
                raise SkipSample(f"'bbox' must be four numbers, found {numbers!r}")
            numbers = [n * side for n, side in zip(numbers, (width, height) * 2, strict=True)]
        else:
            numbers = from_xywh(numbers)
        cut = clip_or_refuse(numbers, width, height, "clip")
        right = seen.box([cut.x1, cut.y1, cut.x2, cut.y2])
        asked = str(row["instruction"]).strip()
        if not asked or row["data_type"] not in ("text", "icon"):
            raise SkipSample(f"expected an instruction about a text or an icon, found {asked!r}, {row['data_type']!r}")
        task = f"{PLATFORMS.get(str(row['data_source']), 'web')} {row['data_type']}"
        return question(benchmark, at.number, (seen.part, f"\nWhere to click: {asked}?"), right, task, str(file))

    return files.items(releases, item)


def score(answer: str, item: Item) -> dict[str, float]:
    """Whether one would click into the element, and IoU >= 0.5 where the answer is a box."""
    found = [one.region for one in parse_regions(answer, *item.size)]
    right = boxes(item)[0]
    first_box = [region for region in found[:1] if isinstance(region, Box)]
    return {
        METRIC: centre_in_box(found[0], right) if found else 0.0,
        "acc_iou50": grounding_accuracy(first_box, [right]),
        "unparseable": float(not found),
    }


def combine(table: Table) -> dict[str, Values]:
    """Shares of all instructions, and the mean over kinds."""
    shares = {metric: 100 * table.mean(metric) for metric in table.metrics}
    return {**shares, "mean_of_kinds": 100 * table.mean_of_tasks(METRIC)}
