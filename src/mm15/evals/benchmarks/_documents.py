"""DocVQA and InfographicVQA: one task, two kinds of pages; their test answers are secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._answers import answer_list
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import anls

HINT = "\nAnswer the question using a single word or phrase."
CHECKS = [
    ("1/8/93", "1/8/93", 1.0),
    ("42", "43", 0.5),
    ("142", "143", 2 / 3),
    ("Annual Report", ["annual report", "the report"], 1.0),
    ("no", "yes", 0.0),
    ("", "a", 0.0),
]


class Options(Strict):
    """What a user may set."""

    split: Literal["validation", "test"] = "validation"
    """``test`` is what the paper reports; its answers are secret, so a submission is written instead of a score."""


def read_documents(files: Files, releases: Sequence[Release], test: Sequence[Release]) -> list[Item]:
    """The questions of the chosen split; those of the test split have no right answers.

    ``releases`` have ``questionId, question, answers`` and the picture in their last column (VLMEvalKit: ``index,
    question, answer``); ``name`` is the folder of the pictures where they are files.
    """
    options: Options = files.options or Options()
    secret = options.split == "test"

    def make(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        number, answers = row[release.columns[0]], None if secret else row[release.columns[2]]
        right = () if secret else answer_list(answers)
        if secret and not str(number).isdigit():
            raise SkipSample(f"'{release.columns[0]}' must be a number, found {number!r}")
        place = release.columns[-1]
        picture = at.image(f"{release.name}/{row[place]}" if release.name else row[place])
        group = str(row.get("docId") or row.get("image_url") or row[place])
        return question(at.source, at.number, (picture, f"\n{row['question']}{HINT}"), right, group=group, id=number)

    return files.items(test if secret else releases, make)


def score(answer: str, item: Item) -> dict[str, float]:
    """Average normalised Levenshtein similarity; exactly one half counts, as in lmms-eval."""
    return {"anls": anls(answer, texts(item)) if answer.strip() else 0.0}


def submission(benchmark: str, answers: Sequence[str], items: Sequence[Item]) -> dict[str, Any]:
    """``[{"questionId", "answer"}]``, as the server of the Robust Reading Competition takes it."""
    rows = [
        {"questionId": int(item.facts["id"]), "answer": answer} for answer, item in zip(answers, items, strict=True)
    ]
    return {f"{benchmark}-test.json": rows}
