"""MMMU (arXiv 2311.16502), validation: 900 college questions with up to seven pictures, options or open; accuracy.

A picture stands where the text first says ``<image 1>``; a later mention stays text. Where nothing is mentioned, the
pictures come first. Prompt as in lmms-eval (``tasks/mmmu``); letters and open answers are read as MMMU's
``eval_utils.py`` reads them, but what cannot be read is wrong and not drawn by chance. An open question may have
several right answers, which the file gives as a Python list in text. The reported number is the mean over all 900.

Files: the parquet releases of MMMU (a folder for every subject) or lmms-lab (one folder).
"""

from __future__ import annotations

import ast
import re
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Part, TextPart
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import mmmu_open

NAME = "mmmu"
SUITE = "paper"
CATEGORY = "knowledge"
METRIC = "accuracy"
SPLIT = "validation"
MAX_NEW_TOKENS = 128
PICTURES = tuple(f"image_{number}" for number in range(1, 8))
OPEN_HINT = "\n\nAnswer the question using a single word or phrase."
_RENT = check_item("B", options=["$6", "$8", "$10"])
_RATIO = check_item(["24/7", "3.43"])
CHECKS = [
    ("B", _RENT, 1.0),
    ("The answer is (B).", _RENT, 1.0),
    ("C", _RENT, 0.0),
    ("I cannot tell", _RENT, 0.0),
    ("", _RENT, 0.0),
    ("The result is 3.43", _RATIO, 1.0),
    ("it is 24/7", _RATIO, 1.0),
    ("3.5", _RATIO, 0.0),
    ("", _RATIO, 0.0),
]

RELEASES = (
    Release(
        ("**/validation*.parquet",),
        ("id", "question", "options", "answer", "question_type", *PICTURES),
        900,
        PICTURES,
    ),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the subject, read from the question's id."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    named = str(row["id"])
    if not named.startswith("validation_"):
        raise SkipSample(f"question {named!r} is not of the validation split")
    task = named.removeprefix("validation_").rpartition("_")[0]
    answer = str(row["answer"])
    if row["question_type"] == "multiple-choice":
        options = [str(option) for option in _listed(row["options"], "options")]
        asked = with_options(str(row["question"]), options) + "\n" + LETTER_HINT
        right = option_letter(answer, options)
        return question(NAME, named, _placed(asked, row, at), right, task, options=options)
    wanted = [str(one) for one in _listed(answer, "answer")] if answer.startswith("[") else [answer]
    return question(NAME, named, _placed(f"{row['question']}{OPEN_HINT}", row, at), wanted, task)


def _listed(text: object, column: str) -> list[Any]:
    """A Python list written as text."""
    try:
        found = ast.literal_eval(text) if isinstance(text, str) else text
    except (ValueError, SyntaxError) as error:
        raise SkipSample(f"'{column}' is no list: {error}") from error
    if not isinstance(found, list) or not found:
        raise SkipSample(f"'{column}' must be a list with something in it, found {text!r}")
    return found


def _placed(asked: str, row: dict[str, Any], at: RowAt) -> list[Part]:
    """The text with the pictures in their places."""
    parts: list[Part] = []
    shown: set[str] = set()
    end = 0
    for mention in re.finditer(r"<image ([1-7])>", asked):
        column = f"image_{mention[1]}"
        if column in shown:
            continue
        if row[column] is None:
            raise SkipSample(f"the text mentions {mention[0]}, and '{column}' is empty")
        shown.add(column)
        parts += [TextPart(asked[end : mention.start()]), at.image(row[column])]
        end = mention.end()
    if not shown:
        parts += [at.image(row[column]) for column in PICTURES if row[column] is not None] + [TextPart("\n")]
        if len(parts) == 1:
            raise SkipSample("a question without pictures")
    parts.append(TextPart(asked[end:]))
    return [part for part in parts if isinstance(part, ImagePart) or (isinstance(part, TextPart) and part.text)]


def score(answer: str, item: Item) -> dict[str, float]:
    """The right letter, or one of the right open answers."""
    if "options" in item.facts:
        return score_option(answer, item, "mmmu")
    return {"accuracy": mmmu_open(answer, texts(item))}
