"""MathVista (arXiv 2310.02255), testmini: 1,000 questions of visual mathematics, by option or number; accuracy.

The published evaluation lets GPT-4 extract the short answer from a long one. Here rules of ours do, without a judge:
``by_rule`` is the share of answers that needed them; where it is high, scores are not comparable with published ones.
Normalising and comparing are those of the authors. The prompt is the file's ``query`` (a hint, the question, its
options), or with ``--set mathvista.prompt=short`` the question with lmms-eval's hints for short answers.

Files: the parquet release (``AI4Math/MathVista``), or the authors' ``testmini.json`` beside ``images/``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTER_HINT, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import mathvista, mathvista_extract

NAME = "mathvista"
SUITE = "paper"
CATEGORY = "knowledge"
METRIC = "accuracy"
SPLIT = "testmini"
MAX_NEW_TOKENS = 256


class Options(Strict):
    """``prompt``: the published query, or lmms-eval's short form of it."""

    prompt: Literal["query", "short"] = "query"


def _check(right: str, answer_type: str, options: list[str] | None = None, precision: float | None = None) -> Item:
    kind = "multi_choice" if options else "free_form"
    return check_item(right, question_type=kind, answer_type=answer_type, options=options or [], precision=precision)


_ANGLE = _check("60°", "text", ["30°", "45°", "60°"])
_COUNT = _check("12", "integer")
_LENGTH = _check("2.5", "float", precision=1.0)
CHECKS = [
    ("60°", _ANGLE, 1.0),
    ("The correct option is (C).", _ANGLE, 1.0),
    ("A", _ANGLE, 0.0),
    ("", _ANGLE, 0.0),
    ("12", _COUNT, 1.0),
    ("There are 12 of them.", _COUNT, 1.0),
    ("13", _COUNT, 0.0),
    ("2.46", _LENGTH, 1.0),
    ("2.4", _LENGTH, 0.0),
]

_COLUMNS = ("pid", "question", "choices", "unit", "precision", "answer", "question_type", "answer_type", "metadata",
            "query")  # fmt: skip
RELEASES = (
    Release(("testmini*.parquet", "data/testmini*.parquet"), (*_COLUMNS, "decoded_image"), 1000, ("decoded_image",)),
    Release(("testmini.json", "data/testmini.json"), (*_COLUMNS, "image"), 1000, form="keyed", name="authors"),
)
SHORT_HINTS = {
    "integer": "Answer the question using a single integer number.",
    "float": "Answer the question using a single floating-point number with {} decimal place{}.",
    "list": "Answer the question using a Python list.",
}


def read(files: Files) -> list[Item]:
    """The questions; the task is that of the row's ``metadata``."""
    options = files.options or Options()
    return files.items(RELEASES, partial(_item, short=options.prompt == "short"))


def _item(row: dict[str, Any], at: RowAt, release: Release, short: bool) -> Item:
    picture = at.image(row["image"] if release.name == "authors" else row["decoded_image"])
    kind, answer_type, options = row["question_type"], row["answer_type"], list(row["choices"] or [])
    if row["answer"] in (None, ""):
        raise SkipSample("no right answer; those of the test split are not public, testmini has them")
    if (kind == "multi_choice") != bool(options) or (kind != "multi_choice" and answer_type not in SHORT_HINTS):
        raise SkipSample(f"a question of type {kind!r}, {answer_type!r} with {len(options)} options")
    facts = {"question_type": kind, "answer_type": answer_type, "options": options, "precision": row["precision"]}
    asked = _short(row, options) if short else row["query"]
    task = str((row["metadata"] or {}).get("task", ""))
    return question(NAME, row["pid"], (picture, f"\n{asked}"), str(row["answer"]), task, **facts)


def _short(row: dict[str, Any], options: list[str]) -> str:
    """The prompt of lmms-eval's ``mathvista_testmini_format``."""
    asked = row["question"] + (f" (Unit: {row['unit']})" if row["unit"] else "")
    if options:
        return with_options(asked, options) + LETTER_HINT
    places = int(row["precision"] or 0)
    words = ("one" if places == 1 else "two" if places == 2 else str(places), "" if places == 1 else "s")
    return f"{asked}\n{SHORT_HINTS[row['answer_type']].format(*words)}"


def score(answer: str, item: Item) -> dict[str, float]:
    """Right or wrong, and whether a rule of ours had to find the short answer in a longer one."""
    if not answer.strip():  # The authors' nearest option would be a guess.
        return {"accuracy": 0.0, "by_rule": 0.0}
    facts = item.facts
    told = facts["question_type"], facts["answer_type"], facts["options"]
    found = mathvista_extract(answer, *told)
    return {
        "accuracy": mathvista(answer, texts(item), *told, facts["precision"]),
        "by_rule": float(not found.direct),
    }
