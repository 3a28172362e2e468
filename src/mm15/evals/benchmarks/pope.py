"""POPE (arXiv 2305.10355), COCO: is there such a thing in the picture; mean accuracy over three ways of asking.

The splits random, popular and adversarial have 3,000 questions each about the same 500 pictures, half of them yes.
MM1.5 does not say whether it reports accuracy or F1: the primary number is the accuracy, ``f1`` stands beside it, both
as means over the splits, as do precision, recall and ``yes_ratio``, the share of answers that say yes. Answers are read
as the authors' ``evaluate.py`` reads them (anything but a "no" is a yes), but an empty answer is neither and wrong.

Files: the parquet release of lmms-lab, VLMEvalKit's ``POPE.tsv`` (a row stands for all splits that its category names;
it is asked once for each), or the authors' ``coco_pope_random.json``, .. beside ``val2014/``. Prompt as in lmms-eval.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mm15.base.errors import SkipSample
from mm15.evals import scoring
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.table import Table, Values

NAME = "pope"
SUITE = "paper"
CATEGORY = "general"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 128
SPLITS = ("random", "popular", "adversarial")
HINT = "\nAnswer the question using a single word or phrase."
CHECKS = [
    ("Yes", "yes", 1.0),
    ("There is no dog in it.", "no", 1.0),
    ("No", "yes", 0.0),
    ("A dog.", "no", 0.0),
    ("", "no", 0.0),
]

RELEASES = (
    Release(
        ("test*.parquet", "data/test*.parquet", "Full/*.parquet"),
        ("question", "answer", "image_source", "image", "category"),
        9000,
        ("image",),
    ),
    Release(("POPE.tsv",), ("index", "image", "question", "answer", "category"), 5127, ("image",), name="table"),
    Release(
        ("coco_pope_*.json", "coco/coco_pope_*.json", "output/coco/coco_pope_*.json"),
        ("image", "text", "label"),
        9000,
        form="lines",
        name="authors",
    ),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the split, the group the picture, which all splits share."""
    return files.items(RELEASES, _items)


def _items(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
    if release.name == "authors":
        picture, asked, right, group = at.image(f"val2014/{row['image']}"), row["text"], row["label"], row["image"]
        splits = [at.file.removeprefix("coco_pope_").removesuffix(".json")]
    else:
        picture, asked, right = at.image(row["image"]), row["question"], row["answer"]
        group = row["image_source"] if "image_source" in row else str(row["image"])
        splits = str(row["category"]).split(",")
    unknown = sorted(set(splits) - set(SPLITS))
    right = str(right).strip().lower()
    if unknown or right not in ("yes", "no"):
        raise SkipSample(
            f"unknown split {unknown[0]!r}" if unknown else f"the right answer is {right!r}, not yes or no"
        )
    parts = (picture, f"\n{str(asked).strip()}{HINT}")
    return [question(NAME, f"{split}/{at.number}", parts, right, split, str(group)) for split in splits]


def score(answer: str, item: Item) -> dict[str, float]:
    """Right or wrong, and whether the answer, the truth, and both say yes: what F1 and its kin are made of."""
    said = scoring.pope_answer(answer) if answer.strip() else None
    (truth,) = texts(item)
    return {
        "accuracy": float(said == truth),
        "said_yes": float(said == "yes"),
        "is_yes": float(truth == "yes"),
        "both_yes": float(said == truth == "yes"),
    }


def combine(table: Table) -> dict[str, Values]:
    """Means over the splits, then F1 of each split. Yes is the positive class."""
    splits = {task: _of_split(table, task) for task in table.tasks}
    names = next(iter(splits.values()))
    means = {name: np.mean([found[name] for found in splits.values()], axis=0) for name in names}
    return {**means, **{f"f1 ({task})": found["f1"] for task, found in splits.items()}}


def _of_split(table: Table, task: str) -> dict[str, Values]:
    said, truth, both = (table.mean(name, task) for name in ("said_yes", "is_yes", "both_yes"))
    return {
        "accuracy": 100 * table.mean("accuracy", task),
        "f1": 100 * _share(2 * both, said + truth),
        "precision": 100 * _share(both, said),
        "recall": 100 * _share(both, truth),
        "yes_ratio": 100 * said,
    }


def _share(part: Values, whole: Values) -> Values:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
