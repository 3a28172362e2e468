"""In what way answers are wrong: classes that need no benchmark's own knowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mm15.evals.benchmark import Benchmark
from mm15.evals.predictions import Prediction
from mm15.evals.scoring import contains
from mm15.generate.engine import LENGTH

RIGHT, PARTLY = "right", "partly right"
UNREADABLE = "picture not readable"
EMPTY = "no answer"
NO_BOX = "no readable box"
CUT_OFF = "cut off at the longest answer"
INSIDE = "right answer inside other words"
WRONG = "wrong answer"
CLASSES = (RIGHT, PARTLY, INSIDE, WRONG, NO_BOX, CUT_OFF, EMPTY, UNREADABLE)
"""In the order in which they are shown."""


def failure(benchmark: Benchmark, kept: Prediction) -> str:
    """The class of a scored answer; the first of these that applies."""
    value = benchmark.item_value(kept.scores)
    if kept.error:
        return UNREADABLE
    if value >= 1:
        return RIGHT
    if not kept.answer:
        return EMPTY
    if kept.scores.get("unparseable"):
        return NO_BOX
    if value > 0:
        return PARTLY
    if kept.stop_reason == LENGTH:
        return CUT_OFF
    # Exact match understates models that say more: MM1.5 found it in 48 % of the screen texts marked wrong.
    references = [reference for reference in kept.references if len(reference.strip()) > 1]
    return INSIDE if references and contains(kept.answer, references) else WRONG


def failures(benchmark: Benchmark, predictions: Sequence[Prediction]) -> dict[str, int]:
    """Class → number of answers, in the order of ``CLASSES``; classes without any are left out."""
    counts = Counter(failure(benchmark, kept) for kept in predictions)
    return {name: counts[name] for name in CLASSES if counts[name]}
