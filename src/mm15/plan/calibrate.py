"""Rates of this machine from a measured run: what its steps took against what was in them.

Encoder, decoder and head reach different rates, and a pack takes time that does not grow with it. Steps hardly differ
(packs are balanced), so one line through them tells little. Where the log tells the seconds of each part, of steps and
of small packs between them (on CPUs), each component gets a rate and a time per pack, the optimizer a time per step.
Elsewhere all operations have one rate and the rest is a time per step: a line through the steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mm15.base.config import load
from mm15.base.errors import ConfigError
from mm15.train.parts import PARTS
from mm15.train.recipe import Recipe
from mm15.train.run_state import NOTE

SETTLED = 5
"""First steps of a run that are left out: caches fill, memory is claimed."""
LEAST = 20
"""Steps that a calibration needs."""


GROUPS = ("vision", "decoder", "head")
"""What has a rate of its own; the connector goes with the encoder."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a measured run's steps are made of: the rates of all its ranks together, and the times that are constant."""

    run: str
    rates: dict[str, float]
    """Forward and backward operations per second, by ``GROUPS``."""
    per_step: float
    """Seconds of a step whatever is in it: the optimizer."""
    per_pack: float
    """Seconds that every pack of a rank takes whatever is in it."""
    steps: int
    """How many were measured."""

    def seconds(self, operations_XG: np.ndarray, packs: float) -> np.ndarray:
        """Of steps with these operations, each rank taking so many packs."""
        rates_G = np.array([self.rates[group] for group in GROUPS])
        return operations_XG @ (1 / rates_G) + self.per_step + self.per_pack * packs

    @property
    def told(self) -> str:
        """In words."""
        if len(set(self.rates.values())) == 1:
            rates = f"{self.rates['decoder'] / 1e12:.3g} TFLOP/s"
        else:
            rates = " / ".join(f"{self.rates[group] / 1e12:.3g}" for group in GROUPS)
            rates += f" TFLOP/s ({' / '.join(GROUPS)})"
        more = f", {self.per_step:.3f} s a step" + (f" and {self.per_pack:.3f} s a pack" if self.per_pack else "")
        return f"{rates}{more}, measured over {self.steps} steps of {self.run}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a run's log: every vector has an entry per step."""

    recipe: Recipe
    data: Path
    tokens: np.ndarray
    tiles: np.ndarray
    targets: np.ndarray
    seconds: np.ndarray
    """Without the wait for data."""
    parts: dict[str, np.ndarray]
    """Seconds of each part of ``train.parts.PARTS``; no part where the log does not tell them of every step."""
    small: dict[str, float]
    """Median seconds of each part for a small pack; no part where none was measured."""
    ranks: int
    memory: float
    """Largest that the log tells, in bytes; 0 where it tells none."""


def measured(run: str | Path) -> Measured:
    """What a run folder tells.

    Raises:
        ConfigError: no run folder, or fewer than ``LEAST`` steps after the first ``SETTLED``.
    """
    run = Path(run)
    recipe_file, log_file, origin_file = run / "recipe.yaml", run / "log.jsonl", run / "run.json"
    missing = [path.name for path in (recipe_file, log_file, origin_file) if not path.is_file()]
    if missing:
        raise ConfigError([f"{run} is no run folder: it has no {', '.join(missing)}"], "--calibration")
    lines = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    steps = [line for line in lines if "seconds" in line][SETTLED:]
    if len(steps) < LEAST:
        raise ConfigError([f"{run}: {len(steps)} steps after the first {SETTLED}; {LEAST} are needed"], "--calibration")
    column = {name: np.array([step[name] for step in steps], float) for name in ("tokens", "tiles", "targets")}
    seconds = np.array([step["seconds"] - step["waited"] for step in steps])
    memory = max(float((step.get("memory") or {}).get("rss", 0)) for step in steps)
    data = Path(json.loads(origin_file.read_text(encoding="utf-8"))["data"])
    parts = {}
    if all("parts" in step for step in steps):
        parts = {part: np.array([step["parts"][part] for step in steps], float) for part in PARTS}
    packs = [line["small"] for line in lines if "small" in line]
    small = {part: float(np.median([pack[part] for pack in packs])) for part in PARTS} if packs else {}
    recipe = load(Recipe, recipe_file)
    return Measured(
        recipe, data, **column, seconds=seconds, parts=parts, small=small, ranks=_ranks(run, recipe), memory=memory
    )


def _ranks(run: Path, recipe: Recipe) -> int:
    """As the run notes them; runs of before it did had as many as their recipe says."""
    note = run / NOTE
    return int(json.loads(note.read_text(encoding="utf-8"))["ranks"]) if note.is_file() else recipe.ranks


@dataclass(frozen=True, slots=True)
class Seen:
    """What a calibration is made of: X steps. Operations are those of all ranks, seconds the mean over them."""

    operations_XG: np.ndarray
    """Forward and backward, by ``GROUPS``."""
    seconds_X: np.ndarray
    packs: float
    """Of a rank in a step."""
    parts: Mapping[str, np.ndarray]
    """Processor seconds of each part; no part: a line goes through the steps."""
    small: Mapping[str, float]
    """Processor seconds of each part for one small pack a rank (``rehearsal.small_pack``)."""
    small_operations_G: np.ndarray


def calibration_of(run: str, seen: Seen) -> Calibration:
    """From measured steps.

    A component's cost is the slope of the line with least absolute error through its steps that goes through the small
    pack; what the line has left at no operations is its time per pack. These are processor times; all are stretched so
    that the median step is explained, waits included.
    """
    if not seen.parts or not seen.small:
        rate, idle = line_of(seen.operations_XG.sum(1), seen.seconds_X)
        return Calibration(run, dict.fromkeys(GROUPS, rate), idle, 0.0, len(seen.seconds_X))
    costs: dict[str, float] = {}
    per_pack = float(np.median(seen.parts["rest"])) / seen.packs
    for group, operations_X, few in zip(GROUPS, seen.operations_XG.T, seen.small_operations_G, strict=True):
        taken_X = seen.parts[group] + seen.parts[f"{group}_back"]
        small = seen.small[group] + seen.small[f"{group}_back"]
        slope = _slope(operations_X - seen.packs * few, taken_X - seen.packs * small)
        if slope > 0:
            costs[group] = slope
            per_pack += max(0.0, small - few * slope)
        elif operations_X.any():  # no line goes through both: all of it grows
            costs[group] = float(np.median(taken_X)) / float(np.median(operations_X) or operations_X.mean())
    # A run of text alone may tell nothing of the encoder.
    costs |= {group: costs["decoder"] for group in GROUPS if group not in costs}
    found = Calibration(
        run=run,
        rates={group: 1 / cost for group, cost in costs.items()},
        per_step=float(np.median(seen.parts["optimizer"])),
        per_pack=per_pack,
        steps=len(seen.seconds_X),
    )
    stretch = float(np.median(seen.seconds_X) / np.median(found.seconds(seen.operations_XG, seen.packs)))
    return replace(
        found,
        rates={group: rate / stretch for group, rate in found.rates.items()},
        per_step=found.per_step * stretch,
        per_pack=found.per_pack * stretch,
    )


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the line through nothing with least absolute error: the median of y / x, weighted by x. 0 where x has none."""
    there = x != 0
    if not there.any():
        return 0.0
    slopes, weights = y[there] / x[there], np.abs(x[there])
    order = np.argsort(slopes)
    reached = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(slopes[order][reached.argmax()])


def line_of(operations: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """(operations per second, seconds that they do not explain) of the line through measured steps.

    The slope is that of least squares, between nothing and what would explain all; the line goes through the medians.
    """
    middle, median = float(np.median(operations)), float(np.median(seconds))
    slope = float(np.polyfit(operations, seconds, 1)[0]) if np.ptp(operations) > 0 else median / middle
    slope = min(max(slope, 0.05 * median / middle), median / middle)
    return 1 / slope, median - slope * middle
