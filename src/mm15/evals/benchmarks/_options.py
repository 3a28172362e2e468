"""Questions with lettered options: how they are written, read from the published tables, and scored."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.items import Item, texts
from mm15.evals.scoring import multiple_choice

LETTERS = string.ascii_uppercase
LETTER_HINT = "\nAnswer with the option's letter from the given choices directly."
"""The short-answer hint of LLaVA-1.5, lmms-eval's default for multiple choice."""


def with_options(asked: str, options: Sequence[str]) -> str:
    """The question, then a line "A. first option" and so on for every option."""
    return "\n".join([asked, *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))])


def table_options(row: Mapping[str, Any]) -> list[str]:
    """The options of a row of a VLMEvalKit table: its columns A, B, .., without the empty ones at the end."""
    options = []
    for letter in LETTERS:
        if letter not in row:
            break
        options.append(str(row[letter]))
    while options and not options[-1].strip():
        options.pop()
    return options


def option_letter(answer: object, options: Sequence[str]) -> str:
    """The letter of the right option, which a row gives as its number from 0 (also as text) or as the letter.

    Raises:
        SkipSample: it names none of the options.
    """
    text = str(answer).strip()
    letter = LETTERS[int(text)] if text.isdecimal() and int(text) < len(options) else text.upper()
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise SkipSample(f"the right answer {answer!r} is none of the {len(options)} options")
    return letter


def score_option(answer: str, item: Item, strategy: str) -> dict[str, float]:
    """1 when ``scoring.extract_choice`` reads the right letter; an answer that names no option is wrong."""
    return {"accuracy": multiple_choice(answer, texts(item), item.facts["options"], strategy)}
