"""Flickr30k Entities (arXiv 1505.04870), test split: find every phrase of a caption, by recall@1 with merged boxes.

Files: ``test.txt``, ``Sentences/``, ``Annotations/`` and the pictures in ``flickr30k-images/``. One question per
caption, as Ferret asks it (arXiv 2310.07704, ``model_flickr.py``): its phrases in small letters without commas. The
target of a phrase is one box around all of its boxes; phrases without a box are not asked for. A phrase is found
where the first box under its name (``named_boxes``, ``phrase_key``) has IoU >= 0.5; one that the answer does not name
is missed. Phrases of a caption that read the same share the target of the first, as in ``eval_flickr_entities.py``.
The reported number is over all phrases of all captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import Box
from mm15.datasets import flickr_entities
from mm15.datasets._joined import JoinedRows
from mm15.datasets._regions import annotated, size_of
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, boxes, check_item, common_boxes, question, written
from mm15.evals.scoring import merged_box, named_boxes, phrase_key, phrase_recall
from mm15.evals.table import Table, Values

NAME = "flickr30k"
SUITE = "paper"
CATEGORY = "refer_ground"
METRIC = "recall_at_1"
SPLIT = "test"
MAX_NEW_TOKENS = 512
ROWS = 5000
"""Five captions of each of 1,000 pictures."""
NAMED = 20
"""Phrases that a constant answer names."""


class Options(Strict):
    """What may be set under ``--set flickr30k.``"""

    images: str = "flickr30k-images"
    """Folder of the pictures, below the benchmark's own."""


def _two(*phrases: str) -> Item:
    return check_item([Box(80, 120, 400, 360), Box(0, 0, 240, 240)], phrases=phrases)


CHECKS = [
    ("a man [100, 200, 500, 600], a red, hat [0, 0, 300, 400]", _two("a man", "a hat"), 0.5),
    ("A man [100, 200, 500, 600]; his dog [0, 0, 300, 400].", _two("a man", "his dog"), 1.0),
    ("a woman [100, 200, 500, 600], a dog [0, 0, 300, 400]", _two("a man", "his dog"), 0.0),
    ("[100, 200, 500, 600], [0, 0, 300, 400]", _two("a man", "his dog"), 0.0),
    ("", _two("a man", "his dog"), 0.0),
]


def read(files: Files) -> list[Item]:
    """The captions of the test pictures; those that share a picture are a group."""
    release = Release(("test.txt",), ("image", "sentence", "boxes"), ROWS, open=partial(_open, files.options.images))
    return files.items((release,), _item)


def _open(images: str, path: Path) -> JoinedRows:
    return flickr_entities.open_rows(
        path.parent, flickr_entities.Options.model_validate({"split": "test", "images": images})
    )


def _item(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
    targets: dict[str, Box] = {}
    phrases: list[str] = []
    picture = annotated(at, row["image"], *size_of(row))
    for key, text in flickr_entities.read_phrases(row["sentence"]):
        found = [picture.box(numbers, "clip") for numbers in row["boxes"].get(key, ())] if key not in ("", "0") else []
        phrase = " ".join(text.lower().replace(",", "").split())
        if not found:
            continue
        if not phrase_key(phrase):
            raise SkipSample(f"phrase {key} has no words: {text!r}")
        targets.setdefault(phrase, merged_box(found))
        phrases.append(phrase)
    if not phrases:
        return []
    asked = f"\nWhat are the locations of {', '.join(phrases)}?"
    right = [targets[phrase] for phrase in phrases]
    return [question(NAME, at.number, (picture.part, asked), right, group=str(row["image"]), phrases=tuple(phrases))]


def score(answer: str, item: Item) -> dict[str, float]:
    """The share of the caption's phrases that are found, and what the reported number is made of."""
    named = [(phrase_key(name), box) for name, box in named_boxes(answer, *item.size)]
    phrases = [phrase_key(phrase) for phrase in item.facts["phrases"]]
    found = [[box for name, box in named if name == phrase] for phrase in phrases]
    share = phrase_recall(found, [[box] for box in boxes(item)])
    return {
        "share_of_caption": share,
        "found": share * len(phrases),
        "phrases": float(len(phrases)),
        "unparseable": float(not named),
    }


def combine(table: Table) -> dict[str, Values]:
    """Recall over all phrases, and the share of answers without a readable box."""
    recall = table.mean("found") / table.mean("phrases").clip(1e-300)
    return {METRIC: 100 * recall, "unparseable": 100 * table.mean("unparseable")}


def perfect(item: Item) -> str:
    """Every phrase with its box."""
    pairs = zip(item.facts["phrases"], item.references, strict=True)
    return ", ".join(f"{phrase} {written(box, item)}" for phrase, box in pairs)


def constants(items: Sequence[Item]) -> list[str]:
    """The most frequent phrases, all with the same box."""
    counted = Counter(phrase for item in items for phrase in item.facts["phrases"])
    named = [phrase for phrase, _ in counted.most_common(NAMED)]
    return [", ".join(f"{phrase} {box}" for phrase in named) for box in common_boxes(items, 10)]
