"""Taperception (arXiv 2204.02448), test split: whether people think that an element can be tapped, by F1 of yes.

Files: ``rico_tap_annotations_idsonly.csv`` (``img_id, object_id, label, split``) and RICO's ``combined/<id>.jpg`` and
``.json``. In the file label 0 means tappable and 1 not tappable; the positive class here is tappable. Accuracy stands
beside F1, which a constant yes pleases. The question is one of those that we train with; that of MM1.5 is not known.
"""

from __future__ import annotations

from typing import Any

from mm15.base.types import ImagePart, RegionPart
from mm15.datasets._prompts import SHORT
from mm15.evals.benchmarks._rico import ElementOptions, element_items, opener
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import f1_of_shares, yes_no, yes_or_no
from mm15.evals.table import Table, Values

NAME = "taperception"
SUITE = "ui"
CATEGORY = "ui"
METRIC = "f1"
SPLIT = "test"
MAX_NEW_TOKENS = 16
RELEASE = Release(
    ("rico_tap_annotations_idsonly.csv",), ("screen", "object", "label"), 2029, open=opener("taperception")
)
CHECKS = [("yes", "Yes", 1.0), ("Yes.", "No", 0.0), ("no", "No", 1.0), ("tappable", "Yes", 0.0), ("", "No", 0.0)]
Options = ElementOptions


def read(files: Files) -> list[Item]:
    """One item per label; those of a screen are a group."""
    return element_items(files, RELEASE, "taperception", _item)


def _item(screen: ImagePart, element: RegionPart, said: str, row: dict[str, Any], at: RowAt) -> Item:
    parts = (screen, "\nIs the element ", element, f" tappable?\n{SHORT}")
    return question(NAME, at.number, parts, said, group=row["screen"])


def score(answer: str, item: Item) -> dict[str, float]:
    """Whether it is right, and what F1 is made of. An answer that is neither yes nor no is wrong."""
    tappable, said = yes_or_no(texts(item)[0]) == "yes", yes_or_no(answer)
    return {
        "accuracy": yes_no(answer, texts(item)),
        "true_yes": float(tappable and said == "yes"),
        "false_yes": float(not tappable and said == "yes"),
        "missed_yes": float(tappable and said != "yes"),
        "unparseable": float(said is None),
    }


def combine(table: Table) -> dict[str, Values]:
    """F1 of the tappable ones, accuracy, and the share of unreadable answers."""
    f1 = f1_of_shares(*(table.mean(name) for name in ("true_yes", "false_yes", "missed_yes")))
    return {METRIC: 100 * f1} | {name: 100 * table.mean(name) for name in ("accuracy", "unparseable")}
