"""Captions scored by CIDEr-D over all items: the reported number is 100 times its mean, as published (ceiling 1000)."""

from __future__ import annotations

from collections.abc import Sequence

from mm15.evals.items import Item, texts
from mm15.evals.scoring import cider, exact_match
from mm15.evals.table import Table, Values

METRIC = "cider"


def score(answer: str, item: Item) -> dict[str, float]:
    """Whether the caption is one of the references: all that one item tells, as CIDEr is of a set."""
    return {"is_a_reference": exact_match(answer, texts(item))}


def score_all(answers: Sequence[str], items: Sequence[Item]) -> list[dict[str, float]]:
    """``score``, and every item's own CIDEr-D over its ceiling 10; document frequencies are those of all items."""
    found = cider(answers, [texts(item) for item in items]).per_item
    pairs = zip(answers, items, found, strict=True)
    return [score(answer, item) | {"cider_of_item": value / 10} for answer, item, value in pairs]


def combine(table: Table) -> dict[str, Values]:
    """CIDEr-D on the published scale, and the share of captions that are a reference."""
    return {METRIC: 1000 * table.mean("cider_of_item"), "is_a_reference": 100 * table.mean("is_a_reference")}
