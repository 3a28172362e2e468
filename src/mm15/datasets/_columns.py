"""Columns of a row by name, and texts made of them.

A path names a column and what lies in it: ``hint``, ``ground_truth.gt_parse.text_sequence`` (JSON in a string is
opened), ``options.0``, ``answers.*.answer`` (of every entry). A template is text with paths in braces, ``{question}``;
what stands between ``[[`` and ``]]`` is left out when a column in it is empty: ``[[Context: {hint}\\n]]{question}``.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef

FIELD = re.compile(r"\{([^{}\n]+)\}")
OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.S)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

ManyAnswers = Literal["refuse", "first", "most_common", "join"]
"""What is said where there are several right answers."""


def names_in(template: str) -> set[str]:
    """The columns that a template names, without what lies in them."""
    return {path.partition(".")[0] for path in FIELD.findall(template)} | set(FIELD.findall(template))


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """What a path leads to.

    Raises:
        SkipSample: naming the column that is missing and those there are, or the step that leads nowhere.
    """
    if path in row:
        return row[path]
    name, _, rest = path.partition(".")
    if name not in row:
        raise SkipSample(f"no column '{name}'; there are: {', '.join(map(str, row)) or 'none'}")
    return _follow(row[name], rest.split("."), path)


def _follow(value: Any, steps: Sequence[str], path: str) -> Any:
    for number, step in enumerate(steps):
        value = opened(value, path)
        if step == "*" and isinstance(value, list):
            return [_follow(item, steps[number + 1 :], path) for item in value]
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            has = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise SkipSample(f"'{path}': no '{step}'; found: {has}")
    return value


def opened(value: Any, path: str) -> Any:
    """JSON, or a Python list as some tables write them, in a string; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            raise SkipSample(f"'{path}' is not valid JSON: {error}") from error


def written(value: Any, path: str, read: Callable[[MediaRef], str]) -> str:
    """A value as text; null is empty.

    Args:
        read: the text of a file that the value names.

    Raises:
        SkipSample: a list, an object or bytes.
    """
    if value is None:
        return ""
    if isinstance(value, MediaRef):
        return read(value)
    if isinstance(value, str | int | float):
        return str(value)
    raise SkipSample(f"'{path}' is a {type(value).__name__}, no text; name what is wanted of it, like '{path}.0'")


def filled(template: str, row: Mapping[str, Any], read: Callable[[MediaRef], str]) -> str:
    """A template with its fields filled in.

    Raises:
        SkipSample: a missing column; or a template without any field that is the name of a column.
    """
    if template in row and not FIELD.search(template):
        raise SkipSample(f"'{template}' is the name of a column; write '{{{template}}}' for its content")

    def field(match: re.Match[str]) -> str:
        return written(value_at(row, match[1]), match[1], read)

    def segment(match: re.Match[str]) -> str:
        values = [field(found) for found in FIELD.finditer(match[1])]
        return FIELD.sub(field, match[1]) if all(value.strip() for value in values) else ""

    # One pass, so that braces and brackets inside of columns stay what they are.
    pieces = []
    end = 0
    for match in OPTIONAL.finditer(template):
        pieces += [FIELD.sub(field, template[end : match.start()]), segment(match)]
        end = match.end()
    return "".join([*pieces, FIELD.sub(field, template[end:])])


def choices_of(row: Mapping[str, Any], columns: str | Sequence[str]) -> list[str]:
    """The choices of a question: a column that lists them, or a column each; empty ones are passed over.

    Raises:
        SkipSample: no list, or nothing in it.
    """
    if isinstance(columns, str):
        listed = opened(value_at(row, columns), columns)
        if not isinstance(listed, list | tuple):
            raise SkipSample(f"'{columns}' must be a list of choices, found {type(listed).__name__}")
    else:
        listed = [value_at(row, column) for column in columns]
    choices = [str(choice) for choice in listed if choice is not None and str(choice).strip()]
    if not 1 <= len(choices) <= len(LETTERS):
        raise SkipSample(f"{len(choices)} choices; there must be 1 to {len(LETTERS)}")
    return choices


def chosen(value: Any, column: str, choices: Sequence[str], base: int) -> int:
    """Which choice is right, from 0: stated as a number counted from ``base`` (also in a string) or as a letter.

    Raises:
        SkipSample: neither, or there is no such choice.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text.isdecimal():
        index = int(text) - base
    elif len(text) == 1 and text.upper() in LETTERS:
        index = LETTERS.index(text.upper())
    else:
        raise SkipSample(f"'{column}' must be the number or letter of a choice, found {value!r}")
    if not 0 <= index < len(choices):
        raise SkipSample(f"'{column}' is {value!r}, but there are {len(choices)} choices (numbers begin at {base})")
    return index


def one_answer(answers: Sequence[Any], path: str, policy: ManyAnswers) -> str:
    """One text for a list of right answers. ``most_common`` takes the earliest of those that stand most often.

    Raises:
        SkipSample: none, or several and the policy is ``refuse``, or they are no texts or numbers.
    """
    if not answers or not all(isinstance(answer, str | int | float) for answer in answers):
        raise SkipSample(f"'{path}' lists no answers that are texts or numbers")
    texts = [str(answer) for answer in answers]
    if policy == "join":
        return ", ".join(texts)
    if policy == "most_common":
        return Counter(texts).most_common(1)[0][0]
    if policy == "refuse" and len(set(texts)) > 1:
        raise SkipSample(f"'{path}' lists {len(texts)} answers; choose with option 'answers'")
    return texts[0]


def unescaped(cell: str) -> str:
    r"""A cell of WikiTableQuestions: ``\n`` is a line break, ``\p`` a bar, ``\\`` a backslash."""
    return re.sub(r"\\([np\\])", lambda match: {"n": "\n", "p": "|", "\\": "\\"}[match[1]], cell)
