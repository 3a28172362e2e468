"""Tables of questions and answers under any column names, which the recipe states: a new data set is no new code.

Covers OpenOrca, MathInstruct, OrcaMath, WizardCoder (Evol-Instruct-Code), Dolly, WebSight, DaTikZ, Design2Code,
SynthDoG, AI2D, ScienceQA, PlotQA, DVQA, ChartQA, DocVQA, TextVQA, OCR-VQA, WikiTableQuestions, TabFact and whatever
else is a question, an answer and perhaps pictures in Parquet, JSON, JSON lines, CSV or TSV. For instance::

    OpenOrca    options: {system: "{system_prompt}", answer: "{response}"}
    Dolly       options: {question: "{instruction}[[\\n\\n{context}]]", answer: "{response}"}
    SynthDoG    options: {question: "Read the text.", answer: "{ground_truth.gt_parse.text_sequence}"}
    ScienceQA   options: {question: "[[Context: {hint}\\n]]{question}\\n{choices}", choices: choices,
                          answer_index: answer, missing_image: text}
    PlotQA      options: {rows: qa_pairs, question: "{question_string}", image: "png/{image_index}.png"}
    OCR-VQA     options: {rows: "*", image: "{__key__}.jpg", each: [questions, answers],
                          question: "{questions}", answer: "{answers}", where: {split: 1}}

How paths and templates are written: ``datasets/_columns.py``. Pictures stand before the question; where it has
``<image>`` or ``<image 1>``, there.

Example rows:
{"question": "Two and two?", "answer": "Four."}
{"image": "a.png", "question": "How many cups are there?", "answer": 3, "source": "made up"}
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import ImagePart, Part, Role, Sample, TextPart, document
from mm15.datasets._columns import (
    FIELD,
    LETTERS,
    ManyAnswers,
    choices_of,
    chosen,
    filled,
    names_in,
    one_answer,
    opened,
    unescaped,
    value_at,
)
from mm15.datasets._context import RowContext, conversation, says_something
from mm15.datasets._placing import NUMBERED, place_media, place_numbered
from mm15.datasets._selected import Selectable
from mm15.io.csv_rows import CsvRows
from mm15.io.json_array import JsonArray
from mm15.io.rows import ConcatRows, Rows, find_files, kind_of
from mm15.io.rows import open_rows as open_files


class Options(Selectable):
    """The map from columns to a conversation. Templates and paths: ``datasets/_columns.py``."""

    question: str | None = None
    """Template; by default ``{question}``, and ``{choices}`` on a line of its own below where there are choices. Empty:
    there is no question, and a row becomes a document of pictures and trained text."""
    answer: str | None = None
    """Template; by default ``{answer}``, or ``{letter}`` where ``answer_index`` is given. ``{letter}`` and ``{choice}``
    are those of the right choice."""
    system: str = ""
    """Template of a system turn; rows where it comes out empty have none."""
    image: str | tuple[str, ...] | None = None
    """Templates of the pictures: ``{column}`` alone is the picture or the list of pictures in it, anything else a file
    name. By default the columns ``image`` and ``images`` as far as there are such; empty: rows have no pictures."""
    image_encoding: Literal["none", "base64"] = "none"
    """``base64``: the picture itself stands in the table."""
    missing_image: Literal["refuse", "text"] = "refuse"
    """What becomes of a row whose picture is null or empty."""
    choices: str | tuple[str, ...] = ""
    """The column (a path) that lists the choices, or the columns that hold one each."""
    choice_format: str = "{letter}. {choice}"
    """How a choice is written; each has its line."""
    answer_index: str = ""
    """The column (a path) with the number or letter of the right choice."""
    index_base: Literal[0, 1] = 0
    """The number of the first choice."""
    answers: ManyAnswers = "refuse"
    """What is said where the answer is a list."""
    answer_map: dict[str, str] = Field(default_factory=dict)
    """What is said for a value of the answer, like ``{"0": "No", "1": "Yes"}``; others are refused. Empty: itself."""
    pairs: str = ""
    """A column (a path) that lists objects, one for each turn of the conversation; their fields are columns too."""
    each: tuple[str, ...] = ()
    """Columns that are parallel lists, one entry for each turn of the conversation."""
    rows: str = ""
    """Where a JSON file is one object: the field that lists the rows, or ``*``: every field is a row, its name the
    column ``__key__``."""
    escapes: Literal["none", "wtq"] = "none"
    """``wtq``: the cells of WikiTableQuestions, ``\\n``, ``\\p``, and ``|`` between answers; quotes are no quotes."""

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if self.answer_index and not self.choices:
            raise ValueError("answer_index needs choices")
        if self.choices and self.question is not None and "{choices}" not in self.question:
            raise ValueError("question must show the {choices}")
        if self.pairs and self.each:
            raise ValueError("pairs and each are two ways to list turns; give one")
        return self


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One conversation or document per row. All columns that only the question, the pictures and the system turn need
    are left out of ``meta``.

    Raises:
        SkipSample: a column that is missing (naming those there are), no question, no answer, or an unclear one.
    """
    options: Options = context.options or Options()
    images = _images(row, context, options)
    turns: list[tuple[Role, str]] = []
    if options.system and (system := filled(options.system, row, context.text)).strip():
        turns.append((Role.SYSTEM, system))
    for columns in _turns(row, options):
        question, answer = _question_and_answer(columns, context, options)
        turns += [(Role.USER, question), (Role.ASSISTANT, answer)]
    roles = [role for role, _ in turns]
    used = names_in(f"{_question(options)} {options.system} {options.image or '{image} {images}'}")
    if not _question(options):
        answers = [text for role, text in turns if role is Role.ASSISTANT]
        if not all(text.strip() for text in answers):
            raise SkipSample("an empty answer")
        return [context.sample(row, [document(*images, "\n\n".join(answers))], used)]
    parts = _placed(turns, images)
    for number, (role, said) in enumerate(zip(roles, parts, strict=True)):
        if role is Role.USER and not says_something(said):
            raise SkipSample(f"turn {number}: the question is empty")
    return [context.sample(row, conversation(roles, parts), used)]


def open_rows(path: Path, options: Options | None) -> Rows:
    """Rows as ``io.rows.open_rows`` gives them; with ``rows`` or ``escapes`` as these say.

    Raises:
        ConfigError: as ``io.rows.open_rows``, or a JSON file that has no such rows.
    """
    chosen_ones = options or Options()
    if not chosen_ones.rows and chosen_ones.escapes == "none":
        return open_files(path)
    reader = partial(_open_file, options=chosen_ones)
    files = find_files(path)
    return reader(files[0]) if len(files) == 1 else ConcatRows(files, reader)


def _open_file(path: Path, options: Options) -> Rows:
    kind = kind_of(path)
    if kind == ".json" and options.rows:
        return KeyedRows(path) if options.rows == "*" else JsonArray(path, options.rows)
    if options.rows:
        raise ConfigError([f"{path}: option 'rows' is for .json files that hold one object"], "sources")
    return CsvRows(path, quoting=False) if kind in (".csv", ".tsv") else open_files(path)


class KeyedRows:
    """The rows of a JSON object whose every field is a row; its name becomes the column ``__key__``. Held in memory.

    Raises:
        ConfigError: the file is not a JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ConfigError([f"{path}: not valid JSON: {error}"], "sources") from error
        if not isinstance(found, dict):
            raise ConfigError([f"{path}: expected an object of rows, found {type(found).__name__}"], "sources")
        self._rows = list(found.items())

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[type[KeyedRows], tuple[Path]]:
        return KeyedRows, (self.path,)

    def address(self, row: int) -> str:
        """``file:key``."""
        return f"{self.path}:{self._rows[row][0]}"

    def row(self, row: int) -> dict[str, Any]:
        """A row. Raises ``SkipSample`` where it is no object."""
        key, found = self._rows[row]
        if not isinstance(found, dict):
            raise SkipSample(f"expected a JSON object, found {type(found).__name__}", self.address(row))
        return {"__key__": key, **found}


def _question(options: Options) -> str:
    if options.question is not None:
        return options.question
    return "{question}\n{choices}" if options.choices else "{question}"


def _turns(row: Mapping[str, Any], options: Options) -> Iterator[Mapping[str, Any]]:
    """The columns that each turn of the conversation sees."""
    if options.pairs:
        listed = opened(value_at(row, options.pairs), options.pairs)
        if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
            raise SkipSample(f"'{options.pairs}' must be a list of objects")
        yield from ({**row, **entry} for entry in listed)
    elif options.each:
        lists = [opened(value_at(row, name), name) for name in options.each]
        if not all(isinstance(entries, list) and len(entries) == len(lists[0]) > 0 for entries in lists):
            raise SkipSample(f"{' and '.join(options.each)} must be lists of one length, with something in them")
        for entries in zip(*lists, strict=True):
            yield {**row, **dict(zip(options.each, entries, strict=True))}
    else:
        yield row


def _question_and_answer(columns: Mapping[str, Any], context: RowContext, options: Options) -> tuple[str, str]:
    template = options.answer or ("{letter}" if options.answer_index else "{answer}")
    if options.choices:
        choices = choices_of(columns, options.choices)
        lines = [
            options.choice_format.replace("{letter}", letter).replace("{choice}", choice)
            for letter, choice in zip(LETTERS, choices, strict=False)
        ]
        columns = {**columns, "choices": "\n".join(lines)}
        if options.answer_index:
            stated = value_at(columns, options.answer_index)
            right = chosen(stated, options.answer_index, choices, options.index_base)
            columns = {**columns, "letter": LETTERS[right], "choice": choices[right]}
    question = filled(_question(options), columns, context.text)
    if options.escapes == "wtq":
        question = unescaped(question)
    alone = FIELD.fullmatch(template)
    value = value_at(columns, alone[1]) if alone else None
    if isinstance(value, str) and options.escapes == "wtq":
        value = [unescaped(cell) for cell in value.split("|")]
    if alone and isinstance(value, list):
        answer = one_answer(value, alone[1], options.answers)
    else:
        answer = filled(template, columns, context.text)
    if options.answer_map:
        if answer not in options.answer_map:
            raise SkipSample(f"the answer {answer!r} is not in answer_map ({', '.join(options.answer_map)})")
        answer = options.answer_map[answer]
    return question, answer


def _images(row: Mapping[str, Any], context: RowContext, options: Options) -> list[ImagePart]:
    if options.image is None:
        templates: Sequence[str] = [f"{{{name}}}" for name in ("image", "images") if name in row]
    else:
        templates = [options.image] if isinstance(options.image, str) else options.image
    found: list[ImagePart] = []
    for template in filter(None, templates):
        alone = FIELD.fullmatch(template)
        value = value_at(row, alone[1]) if alone else filled(template, row, context.text)
        values = value if isinstance(value, list) else [value]
        values = [item for item in values if item is not None and item != ""]
        if not values and options.missing_image == "refuse":
            raise SkipSample(f"no picture in {template}; to use such rows as text, set option missing_image: text")
        found += [context.image(_decoded(item, options)) for item in values]
    return found


def _decoded(value: object, options: Options) -> object:
    if options.image_encoding == "none" or not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SkipSample(f"the picture is not base64: {error}") from error


def _placed(turns: Sequence[tuple[Role, str]], images: Sequence[ImagePart]) -> list[list[Part]]:
    texts = [text for _, text in turns]
    if images and any("<image>" in text for text in texts):
        return place_media(turns, ["<image>"], images)[0]
    if images and any(re.search(NUMBERED, text) for text in texts):
        return place_numbered(texts, images)
    parts: list[list[Part]] = [[TextPart(text)] for text in texts]
    if images:
        first = next(number for number, (role, _) in enumerate(turns) if role is Role.USER)
        parts[first] = [*images, *parts[first]]
    return parts
