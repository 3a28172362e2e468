"""Two models on the same items: the difference of every score, drawn item by item.

Both models answered the same questions, so the bootstrap draws items and takes both answers to each: what is common to
both, such as hard questions, cancels. The sign test looks at the items on which one was better than the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm15.base.errors import DataError
from mm15.evals.benchmark import find
from mm15.evals.predictions import Answers, Prediction
from mm15.evals.table import Table, draw_weights


@dataclass(frozen=True, slots=True)
class Comparison:
    """The primary number of one benchmark, this model against the other, on the items that both answered."""

    benchmark: str
    metric: str
    value: float
    other: float
    difference: float
    low: float
    """Lower end of the 95 % paired bootstrap interval of the difference."""
    high: float
    n: int
    better: int
    """Items on which this model scored higher."""
    worse: int
    p: float
    """Two-sided sign test over the items on which they differ."""

    @property
    def certain(self) -> bool:
        """Whether the interval excludes no difference."""
        return self.low > 0 or self.high < 0


def compare(
    predictions: Mapping[str, Sequence[Prediction]], others: Mapping[str, Sequence[Prediction]]
) -> list[Comparison]:
    """Of every benchmark that both were scored on.

    Raises:
        DataError: the items of a benchmark are not the same.
    """
    found, problems = [], []
    for name in predictions:
        if name not in others or not _scored(predictions[name]) or not _scored(others[name]):
            continue
        by_key = {kept.key: kept for kept in others[name]}
        mine = predictions[name]
        unmatched = {kept.key for kept in mine} ^ by_key.keys()
        if unmatched:
            shown = ", ".join(sorted(unmatched)[:3])
            problems.append(f"{name}: {len(unmatched)} items were answered by one model only ({shown})")
            continue
        found.append(_one(name, mine, [by_key[kept.key] for kept in mine]))
    if problems:
        told = "\n".join(problems)
        raise DataError(f"only answers to the same questions can be compared; use the same --limit and files:\n{told}")
    return found


def kept_predictions(out: str | Path) -> dict[str, list[Prediction]]:
    """Benchmark → scored answers in the folder of an evaluation.

    Raises:
        DataError: there are none.
    """
    files = sorted((Path(out) / "predictions").glob("*.jsonl"))
    if not files:
        raise DataError(f"{out} holds no answers (predictions/*.jsonl); run: mm15 eval BUNDLE --data DIR --out {out}")
    answers = Answers(Path(out))
    return {file.stem: list(answers.kept(file.stem).values()) for file in files}


def _scored(predictions: Sequence[Prediction]) -> bool:
    return any(kept.scores for kept in predictions)


def _one(name: str, mine: Sequence[Prediction], theirs: Sequence[Prediction]) -> Comparison:
    benchmark = find(name)
    tasks = [kept.task for kept in mine]
    tables = [Table([kept.scores for kept in side], tasks) for side in (mine, theirs)]
    value, other = (float(benchmark.combine(table)[benchmark.metric][0]) for table in tables)
    weights_RN = draw_weights([kept.group or kept.key for kept in mine], name)
    drawn = [benchmark.combine(table.weighed(weights_RN))[benchmark.metric] for table in tables]
    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
    gaps = [benchmark.item_value(a.scores) - benchmark.item_value(b.scores) for a, b in zip(mine, theirs, strict=True)]
    better, worse = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return Comparison(
        name, benchmark.metric, value, other, value - other, float(low), float(high), len(mine), better, worse,
        sign_test(better, worse),
    )  # fmt: skip


def sign_test(better: int, worse: int) -> float:
    """Probability of a split at least as uneven as this if both were equally good (binomial, two-sided)."""
    n, few = better + worse, min(better, worse)
    if n == 0:
        return 1.0
    if n > 1000:  # the normal approximation, with continuity correction
        return math.erfc(max(0.0, abs(better - worse) - 1) / math.sqrt(2 * n))
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)
