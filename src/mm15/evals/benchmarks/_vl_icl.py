"""What the six tasks of VL-ICL Bench (arXiv 2403.13164) share: demonstrations, prompt, options and scoring.

The benchmark's folder is the task's own (``query.json``, ``support.json`` and its pictures), or the whole data set with
the task's folder in it. Every query is asked once per number of shots, in the order of its row; the task of an item is
"4-shot". The reported number is the mean over the numbers of shots (MM1.5 does not say how it averages them).

Demonstrations are drawn as the authors' ``I2T_inference.py`` draws them (``utils/ICL_utils.py``): Python's generator is
seeded once with 0, then all queries of the first number of shots draw in turn, then those of the second, and so on. So
with the authors' default shots they are the authors' demonstrations; with other shots, those that the script draws when
it is run with these.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Part
from mm15.evals.benchmarks._pictures import find_picture
from mm15.evals.files import Files, Release, RowAt, read_rows
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import vl_icl

MAX_NEW_TOKENS = 15
SEED = 0
OPERATORS = {"+": 0, "-": 1, "x": 2}
"""Place of an operator's result in a demonstration's answers."""
INSTRUCTIONS = {
    "open_mi": "Induce the concept from the in-context examples. Answer the question with a single word or phase.",
    "operator_induction": (
        "The image contains two digit numbers and a ? representing the mathematical operator. Induce the mathematical "
        "operator (addition, multiplication, minus) according to the results of the in-context examples and calculate "
        "the result."
    ),
    "operator_induction_interleaved": (
        "There are two input images, each representing a single digit number. Induce the mathematical operator "
        "(addition, multiplication, minus) that is applied between the two images according to the results of the "
        "in-context examples. Calculate the result for the new query images."
    ),
    "textocr": (
        "An image will be provided where a red box is drawn around the text of interest. Answer with the text inside "
        "the red box. Ensure that the transcription is precise, reflecting the exact characters, including letters, "
        "numbers, symbols."
    ),
    "clevr": (
        "The image contains objects of different shapes, colors, sizes and materials. The question describes the "
        "attribute and its value. You need to find all objects within the image that satisfy the condition. You should "
        "induce what operation to use according to the results of the in-context examples and then calculate the "
        "result."
    ),
    "matching_mi": (
        "According to the few-shot examples, induce what operation to do and determine the output for the two new "
        'images. Answer with "yes" or "no".'
    ),
}
"""The authors' detailed task descriptions (``get_task_instruction``), word for word; their commands ask for these."""

Demonstrations = list[dict[str, Any]]


class Options(Strict):
    """What a user may set."""

    shots: tuple[int, ...] = (0, 1, 2, 4, 8)
    """Numbers of demonstrations; in open_mi and matching_mi one shot is a pair of them."""
    description: Literal["detailed", "nothing"] = "detailed"
    """How the task is described in front of the demonstrations."""
    seed: int = Field(SEED, ge=0)
    """Of the generator that draws them."""

    @field_validator("shots")
    @classmethod
    def _once_each(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if not shots or min(shots) < 0 or len(set(shots)) != len(shots):
            raise ValueError("shots are different whole numbers from 0, at least one")
        return shots


def read(files: Files, task: str, rows: int) -> list[Item]:
    """Every query with every number of shots.

    Args:
        task: name of the authors' folder.
        rows: official number of queries.

    Raises:
        DataError: see ``Files.items``; or no ``support.json`` beside the queries.
    """
    options: Options = files.options
    columns = ("id", "image", "question", "answer") + (("support", "classes") if task == "open_mi" else ())
    columns += ("operator",) if task.startswith("operator_induction") else ()
    releases = (Release(("query.json", f"{task}/query.json"), columns, rows),)
    _, (path,) = files.release(releases)
    queries = [row for _, row in read_rows(path)]
    supports = [] if task == "open_mi" else [row for _, row in read_rows(path.with_name("support.json"))]
    drawn = _draw(task, queries, supports, options, set(columns))

    def items(row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
        made = []
        for shots in options.shots:
            found = drawn[shots][at.number]
            if isinstance(found, SkipSample):
                raise found
            parts = _prompt(row, found, at, task, options)
            key = f"{row['id']}/{shots}-shot"
            made.append(question(files.benchmark, key, parts, str(row["answer"]), f"{shots}-shot", str(row["id"])))
        return made

    return files.items(releases, items)


def _draw(
    task: str,
    queries: Sequence[Mapping[str, Any]],
    supports: Sequence[dict[str, Any]],
    options: Options,
    needed: set[str],
) -> dict[int, list[Demonstrations | SkipSample]]:
    """Number of shots → demonstrations of every query, or why there are none."""
    generator = random.Random(options.seed)  # Python's own, because the authors' draws are to be repeated.
    drawn: dict[int, list[Demonstrations | SkipSample]] = {}
    for shots in options.shots:
        drawn[shots] = []
        for query in queries:
            try:
                if not needed <= query.keys():
                    raise SkipSample(f"no {', '.join(sorted(needed - query.keys()))}")
                drawn[shots].append(_select(task, query, supports, shots, generator))
            except SkipSample as error:
                drawn[shots].append(error)
    return drawn


def _select(
    task: str,
    query: Mapping[str, Any],
    supports: Sequence[dict[str, Any]],
    shots: int,
    generator: random.Random,
) -> Demonstrations:
    """The demonstrations of one query, drawn as ``select_demonstration`` draws them."""
    if task == "open_mi":
        return _two_classes(query, shots, generator)
    if shots > len(supports):
        raise SkipSample(f"{shots} shots of {len(supports)} demonstrations in support.json; lower shots")
    chosen = generator.sample(supports, shots)
    try:
        if task == "matching_mi":
            return [row[side] for row in chosen for side in ("same", "diff")]
        if task.startswith("operator_induction"):
            place = OPERATORS[query["operator"]]
            return [{**row, "answer": row["answer"][place]} for row in chosen]
    except (KeyError, IndexError, TypeError) as error:
        raise SkipSample(f"a demonstration or the operator is not as expected: {error!r}") from error
    return chosen


def _two_classes(query: Mapping[str, Any], shots: int, generator: random.Random) -> Demonstrations:
    """Pairs of a picture of the right class and one of another, always in the same order."""
    right = query["answer"]
    others = [name for name in query["classes"] if name != right]
    if not others:
        raise SkipSample(f"no other class than {right!r} in 'classes'")
    other = generator.choice(others)
    order = [right, other] if generator.choice([True, False]) else [other, right]
    shown: Demonstrations = []
    for number in range(shots):
        for name in order:
            pictures = query["support"].get(name, {}).get("images", [])
            if number >= len(pictures):
                raise SkipSample(f"{shots} shots of {len(pictures)} pictures of class {name!r}; lower shots")
            shown.append({"image": [pictures[number]], "question": "This is a", "answer": name})
    return shown


def _prompt(
    query: Mapping[str, Any], shown: Demonstrations, at: RowAt, task: str, options: Options
) -> list[Part | str]:
    """Instruction, then pictures, question and answer of every demonstration, then the query's (as for LLaVA)."""
    parts: list[Part | str] = [f"{INSTRUCTIONS[task] if options.description == 'detailed' else ''}\n"]
    for one in shown:
        for picture in _pictures(one, at, task):
            parts += [picture, "\n"]
        parts.append(f"{one['question']}\nAnswer: {one['answer']}\n")
    for picture in _pictures(query, at, task):
        parts += [picture, "\n"]
    parts.append(f"{query['question']}\nAnswer:")
    return parts


def _pictures(row: Mapping[str, Any], at: RowAt, task: str) -> list[ImagePart]:
    named = [row["image"]] if isinstance(row["image"], str) else row["image"]
    if not named:
        raise SkipSample("a question without a picture")
    bare = [str(Path(name).relative_to(task)) if name.startswith(f"{task}/") else name for name in named]
    return [find_picture(at, name, ("", task)) for name in bare]


def score(answer: str, item: Item, task: str) -> dict[str, float]:
    """Exact match after the authors' cut of the continuation; silence is wrong, also where the right answer is no."""
    return {"accuracy": vl_icl(answer, texts(item), task) if answer.strip() else 0.0}
