"""Per-item values → reported numbers, with how sure they are.

A reported number is a function of means of per-item values: over all items, or over those of one task. The same
function runs on the items as they are and on 1,000 bootstrap draws of them at once, so that sums of sub-scores, ratios
of means and F1 get intervals as plain means do.

Legend: N items, R rows of weights (1, or the draws).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm15.base.rng import numpy_rng

DRAWS = 1000
BLOCK = 1 << 22
"""Weights in memory at a time."""

Values = np.ndarray
"""One number per row of weights, float64 [R]."""


@dataclass(frozen=True, slots=True)
class Score:
    """One reported number of a benchmark, with how sure it is."""

    benchmark: str
    category: str
    metric: str
    value: float
    """As reported: 0-100 where it is a share, else in the metric's own points."""
    n: int
    """Items that it is made of."""
    stderr: float
    """Standard deviation over the bootstrap draws."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float


class Table:
    """Per-item values under R weightings of the items.

    Args:
        values: one mapping per item, metric → value. An item without a metric does not count in its mean.
        tasks: the task of every item.
        weights_RN: how often each item counts; None: once.
    """

    def __init__(
        self, values: Sequence[Mapping[str, float]], tasks: Sequence[str], weights_RN: np.ndarray | None = None
    ) -> None:
        self.metrics = list(dict.fromkeys(name for row in values for name in row))
        self.tasks = sorted(set(tasks))
        self.size = len(values)
        self._values = {name: np.array([row.get(name, np.nan) for row in values]) for name in self.metrics}
        self._tasks = np.array(list(tasks), dtype=object)
        self._weights_RN = np.ones((1, len(values))) if weights_RN is None else weights_RN

    def weighed(self, weights_RN: np.ndarray) -> Table:
        """The same values under other weights."""
        table = object.__new__(Table)
        table.__dict__ = {**self.__dict__, "_weights_RN": weights_RN}
        return table

    def mean(self, metric: str, task: str | None = None) -> Values:
        """Mean of a metric over the items that have it, of one task if named; 0 where a draw holds none of them.

        Raises:
            KeyError: no item has this metric.
        """
        mask = self._mask(metric, task)
        weights_RM = self._weights_RN[:, mask]
        totals = weights_RM.sum(axis=1, dtype=np.float64)
        return (weights_RM @ self._values[metric][mask]) / np.maximum(totals, 1e-300)

    def count(self, metric: str, task: str | None = None) -> int:
        """Items that have the metric."""
        return int(self._mask(metric, task).sum())

    def mean_of_tasks(self, metric: str) -> Values:
        """Mean over tasks of the mean within each: every task counts the same."""
        tasks = [task for task in self.tasks if self.count(metric, task)]
        return np.mean([self.mean(metric, task) for task in tasks], axis=0)

    def _mask(self, metric: str, task: str | None) -> np.ndarray:
        mask = ~np.isnan(self._values[metric])
        return mask if task is None else mask & (self._tasks == task)


Combine = Callable[[Table], Mapping[str, Values]]


def plain_means(table: Table) -> dict[str, Values]:
    """``combine`` of most benchmarks: 100 times the mean of every metric."""
    return {metric: 100 * table.mean(metric) for metric in table.metrics}


def means_of_tasks(table: Table) -> dict[str, Values]:
    """``combine`` of benchmarks that average their sub-tasks: 100 times the mean over tasks of every metric."""
    return {metric: 100 * table.mean_of_tasks(metric) for metric in table.metrics}


def draw_weights(clusters: Sequence[str], name: str, draws: int = DRAWS) -> np.ndarray:
    """How often each item is drawn in each bootstrap draw, float32 [draws, N]; seeded by ``name``.

    Items of one cluster are drawn together, because their errors are not independent.
    """
    _, place = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
    count = int(place.max()) + 1
    drawn = numpy_rng(0, "bootstrap", name).integers(0, count, (draws, count))
    counts = np.stack([np.bincount(row, minlength=count) for row in drawn])
    return counts[:, place].astype(np.float32)


def estimate(table: Table, clusters: Sequence[str], combine: Combine, name: str) -> dict[str, tuple[float, ...]]:
    """Reported metric → (value, standard error, low, high)."""
    values = {metric: float(found[0]) for metric, found in combine(table).items()}
    weights = draw_weights(clusters, name)
    step = max(1, BLOCK // max(1, weights.shape[1]))
    parts = [combine(table.weighed(weights[start : start + step])) for start in range(0, len(weights), step)]
    result = {}
    for metric, value in values.items():
        drawn = np.concatenate([part[metric] for part in parts])
        low, high = np.percentile(drawn, [2.5, 97.5])
        stderr = float(drawn.std(ddof=1)) if len(set(clusters)) > 1 else 0.0
        result[metric] = (value, stderr, float(low), float(high))
    return result
