"""Widget captioning (arXiv 2010.04295), test split: what an element of an Android screen does, in a phrase, by CIDEr.

Files: ``widget_captions.csv`` (``datasetId, screenId, nodeId, captions``, parted by ``|``), ``split/test.txt`` and
RICO's ``combined/<id>.jpg`` and ``.json``. Elements of screens that were never published (``datasetId`` "nr") are no
part of it. All captions of an element are the references. The question is one of those that we train with; that of
MM1.5 is not known.
"""

from __future__ import annotations

from typing import Any

from mm15.base.types import ImagePart, RegionPart
from mm15.evals.benchmarks import _captions
from mm15.evals.benchmarks._rico import ElementOptions, element_items, opener
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "widget-captioning"
SUITE = "ui"
CATEGORY = "ui"
METRIC = _captions.METRIC
SPLIT = "test"
MAX_NEW_TOKENS = 32
RELEASE = Release(
    ("widget_captions.csv",), ("screen", "node", "references"), open=opener("widget-captioning", "screen", "node")
)
CHECKS = [
    ("go back", "go back", 1.0),
    ("Go Back.", check_item(["go back", "return to the last page"]), 1.0),
    ("open the menu", "go back", 0.0),
    ("", "go back", 0.0),
]
Options = ElementOptions


def read(files: Files) -> list[Item]:
    """One item per element; those of a screen are a group."""
    return element_items(files, RELEASE, "widget-captioning", _item)


def _item(screen: ImagePart, element: RegionPart, said: str, row: dict[str, Any], at: RowAt) -> Item:
    parts = (screen, "\nDescribe the function of the widget ", element, " in a phrase.")
    return question(NAME, f"{row['screen']}/{row['node']}", parts, row["references"], group=row["screen"])


score = _captions.score
score_all = _captions.score_all
combine = _captions.combine
