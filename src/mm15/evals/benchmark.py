"""What a benchmark is: a module in ``evals/benchmarks`` that says what is asked, what is right, and how it is scored.

    NAME, CATEGORY, METRIC    its name, the category it belongs to, its one primary metric
    FILE, FORMAT              the file in the held-out folder and the ``datasets`` format that reads it
    MAX_NEW_TOKENS            the longest answer
    COUNTS_IN_AVERAGE         whether it enters the category average or is only reported beside it
    references(sample)        the right answers of one row, from its final answer: texts, or boxes in pixels
    score(answer, item)       metric → 0..1; the primary metric is among them
    constants(items)          answers that need no picture, to find the best score such an answer could get
    CHECKS                    (answer, reference, primary score) lines that a house test runs

The helpers at the end are what most benchmarks use for ``references`` and ``constants``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from mm15.base import catalogue
from mm15.base.errors import DataError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Box, Category, ImagePart, MediaRef, Message, Part, RegionPart, Role, Sample, TextPart, user
from mm15.datasets._context import RowContext, read_options
from mm15.evals.scoring import grounding_accuracy
from mm15.io.jsonl import read_jsonl
from mm15.text.regions import parse_regions, write_box, write_region

PACKAGE = "mm15.evals.benchmarks"
CATEGORIES = ("general", "text_rich", "knowledge", "refer_ground", "multi_image")
"""The categories of MM1.5's evaluation tables; in-context learning has no benchmark here."""

Reference = str | Box


@dataclass(frozen=True, slots=True)
class Item:
    """One question: the sample to answer (it ends with the user's turn) and its right answers."""

    sample: Sample
    references: tuple[Reference, ...]
    task: str = ""
    """The row's own ``task``, for sub-scores."""

    @property
    def key(self) -> str:
        return self.sample.key

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the first picture, in which boxes are written and read."""
        image = self.sample.images[0]
        return image.width, image.height


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered question, with everything needed to score it again."""

    key: str
    prompt: str
    prompt_hash: str
    """Of the tokens and tiles the model saw."""
    answer: str
    references: tuple[str, ...]
    scores: dict[str, float]
    """Metric → 0..1."""
    tokens: int
    """Tokens of the prompt and the answer together."""
    stop_reason: str
    task: str = ""
    error: str = ""
    """Why there is no answer (an unreadable picture); such an item is wrong and stays in n."""


@dataclass(frozen=True, slots=True)
class Score:
    """The mean of one metric over one benchmark, 0-100, with how sure it is."""

    benchmark: str
    category: str
    metric: str
    value: float
    n: int
    stderr: float
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float


class Benchmark(Protocol):
    """The shape of a benchmark module."""

    NAME: str
    CATEGORY: str
    METRIC: str
    FILE: str
    FORMAT: str
    MAX_NEW_TOKENS: int
    COUNTS_IN_AVERAGE: bool
    CHECKS: list[tuple[str, Reference, float]]

    def references(self, sample: Sample) -> tuple[Reference, ...]: ...

    def score(self, answer: str, item: Item) -> dict[str, float]: ...

    def constants(self, items: Sequence[Item]) -> list[str]: ...


def known() -> list[str]:
    """Names of all benchmarks, by category; those that are only reported apart stand last in theirs."""
    found = [find(name) for name in catalogue.names(PACKAGE)]
    found.sort(key=lambda benchmark: (CATEGORIES.index(benchmark.CATEGORY), not benchmark.COUNTS_IN_AVERAGE))
    return [benchmark.NAME for benchmark in found]


def find(name: str) -> Benchmark:
    """The benchmark with this name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    return cast(Benchmark, catalogue.lookup(PACKAGE, name, "benchmark"))


def read_items(benchmark: Benchmark, folder: Path, limit: int | None = None) -> list[Item]:
    """The questions of a benchmark's file, in file order.

    A row with several answers gives one question for each; earlier turns lend it their pictures but not their text, so
    that no right answer is ever shown.

    Raises:
        DataError: rows that cannot be used; all of them are named. A question without its answer cannot be scored.
    """
    format = catalogue.lookup("mm15.datasets", benchmark.FORMAT, "dataset format")
    options = read_options(format, {})
    path = folder / benchmark.FILE
    items: list[Item] = []
    problems = []
    for line, row in read_jsonl(path):
        # The category only tells captions apart from questions here; ``knowledge`` is no category of a sample.
        key = f"{benchmark.NAME}/{line}"
        context = RowContext(benchmark.NAME, Category.GENERAL, key, root=str(folder), options=options)
        try:
            for sample in format.to_samples(row, context):
                items += _questions(benchmark, sample)
        except SkipSample as error:
            problems.append(f"{path}:{line}: {error.reason}")
        if limit is not None and len(items) >= limit:
            break
    if problems or not items:
        raise DataError(f"{benchmark.NAME}: unusable rows in {path}\n" + "\n".join(problems or ["the file is empty"]))
    return items[:limit]


def _questions(benchmark: Benchmark, sample: Sample) -> list[Item]:
    answers = [n for n, message in enumerate(sample.messages) if message.role is Role.ASSISTANT]
    task = str(sample.meta.get("task", sample.meta.get("task_name", "")))
    items = []
    for number, place in enumerate(answers):
        asked = sample.messages[place - 1]
        earlier = sample.messages[: place - 1]
        system = tuple(message for message in earlier if message.role is Role.SYSTEM)
        lent = tuple(part for message in earlier for part in message.parts if isinstance(part, ImagePart))
        alone = replace(
            sample,
            key=sample.key if len(answers) == 1 else f"{sample.key}.{number}",
            messages=(*system, Message(Role.USER, lent + asked.parts)),
        )
        answered = replace(alone, messages=(*alone.messages, sample.messages[place]))
        items.append(Item(alone, benchmark.references(answered), task))
    return items


def prompt_text(sample: Sample) -> str:
    """The question as readable text: pictures as ``<image>``, regions as the coordinates the model reads."""
    return "\n".join("".join(_readable(part, sample) for part in message.parts) for message in sample.messages)


def _readable(part: Part, sample: Sample) -> str:
    if isinstance(part, RegionPart):
        image = sample.images[part.region.image]
        return write_region(part.region, image.width, image.height)
    return part.text if isinstance(part, TextPart) else "<image>"


def summarise(benchmark: Benchmark, metric: str, values: Sequence[float]) -> Score:
    """Mean, standard error and seeded bootstrap interval (1,000 draws of the items) of per-item values in 0..1."""
    values_n = np.asarray(values, dtype=np.float64) * 100
    n = len(values_n)
    draws = numpy_rng(0, "bootstrap", benchmark.NAME, metric).integers(0, n, (1000, n))
    low, high = np.percentile(values_n[draws].mean(axis=1), [2.5, 97.5])
    stderr = float(values_n.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Score(benchmark.NAME, benchmark.CATEGORY, metric, float(values_n.mean()), n, stderr, float(low), float(high))


# ---- what most benchmarks share ----


def answer_text(sample: Sample) -> tuple[str, ...]:
    """``references`` of a benchmark whose right answer is the text of the final turn."""
    return (sample.messages[-1].text.strip(),)


def answer_boxes(sample: Sample) -> tuple[Box, ...]:
    """``references`` of a grounding benchmark: the boxes of the final turn, in pixels.

    Raises:
        SkipSample: the turn has none.
    """
    regions = [part.region for part in sample.messages[-1].parts if isinstance(part, RegionPart)]
    boxes = tuple(region for region in regions if isinstance(region, Box))
    if not boxes:
        raise SkipSample("the right answer holds no box")
    return boxes


def texts(item: Item) -> list[str]:
    """The references of a text benchmark."""
    return [reference for reference in item.references if isinstance(reference, str)]


def score_boxes(answer: str, item: Item) -> dict[str, float]:
    """``score`` of a grounding benchmark: Acc@IoU0.5 of the first box in the answer; no readable box is a miss, and
    ``unparseable`` counts those."""
    regions = [found.region for found in parse_regions(answer, *item.size)]
    boxes = [region for region in regions if isinstance(region, Box)]
    wanted = [reference for reference in item.references if isinstance(reference, Box)]
    return {"acc_iou50": grounding_accuracy(boxes, wanted), "unparseable": float(not boxes)}


def written(reference: Reference, item: Item) -> str:
    """A reference as the answer a perfect model would give."""
    return write_box(reference, *item.size) if isinstance(reference, Box) else reference


MOST_CONSTANTS = 100


def common_answers(items: Sequence[Item]) -> list[str]:
    """``constants`` of most benchmarks: the most frequent right answers, at most ``MOST_CONSTANTS`` of them."""
    counts = Counter(written(reference, item) for item in items for reference in item.references)
    return [answer for answer, _ in counts.most_common(MOST_CONSTANTS)]


def common_boxes(items: Sequence[Item]) -> list[str]:
    """``constants`` of a grounding benchmark: right boxes, their mean and median, the whole picture, centred boxes.

    All on the 0-999 scale, as the model would write them.
    """
    found = [
        parse_regions(written(reference, item), *item.size)[0].norm for item in items for reference in item.references
    ]
    guesses = [np.mean(found, axis=0), np.median(found, axis=0)]
    guesses += [np.array([500 - half, 500 - half, 500 + half, 500 + half]) for half in (150, 250, 350, 499)]
    return [f"[{', '.join(str(int(value)) for value in guess)}]" for guess in guesses] + common_answers(items)


def check_item(reference: Reference) -> Item:
    """An item with this right answer, for the lines of ``CHECKS``; its picture is 800 x 600 px and never read."""
    picture = ImagePart(MediaRef(path="check.png"), 800, 600)
    return Item(Sample("check", "check", Category.GENERAL, (user(picture, "\nQuestion?"),)), (reference,))
