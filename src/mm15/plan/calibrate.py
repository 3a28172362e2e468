"""Rates of this machine from a measured run: what its steps took against what was in them.

Encoder, decoder and head reach different rates, and a pack takes time even with next to nothing in it, more than half
of the encoder's where pictures are few. Where the log tells the seconds of each part and of nearly empty packs (on
CPUs), each component gets a rate and a time per pack, the optimizer a time per step. Elsewhere all operations have one
rate and the rest is a time per step: a line through the steps.
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
    empty: dict[str, float]
    """Median seconds of each part for a pack with next to nothing in it; no part where no such pack was measured."""
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
    packs = [line["empty"] for line in lines if "empty" in line]
    empty = {part: float(np.median([pack[part] for pack in packs])) for part in PARTS} if packs else {}
    recipe = load(Recipe, recipe_file)
    return Measured(
        recipe, data, **column, seconds=seconds, parts=parts, empty=empty, ranks=_ranks(run, recipe), memory=memory
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
    empty: Mapping[str, float]
    """Processor seconds of each part for one nearly empty pack a rank."""
    empty_operations_G: np.ndarray


def calibration_of(run: str, seen: Seen) -> Calibration:
    """From measured steps.

    A component's rate is the median over steps of what it did beyond empty packs, by the seconds that this took; its
    time per pack is that of the empty pack without its few operations. These are processor times; all are stretched
    so that the median step is explained, waits included.
    """
    if not seen.parts or not seen.empty:
        rate, idle = line_of(seen.operations_XG.sum(1), seen.seconds_X)
        return Calibration(run, dict.fromkeys(GROUPS, rate), idle, 0.0, len(seen.seconds_X))
    costs: dict[str, float] = {}
    per_pack = float(np.median(seen.parts["rest"])) / seen.packs
    for group, operations_X, few in zip(GROUPS, seen.operations_XG.T, seen.empty_operations_G, strict=True):
        taken_X = seen.parts[group] + seen.parts[f"{group}_back"]
        at_least = seen.empty[group] + seen.empty[f"{group}_back"]
        more = operations_X > 2 * seen.packs * few  # of emptier steps the difference is noise
        if more.any():
            over_X = (taken_X - seen.packs * at_least)[more] / (operations_X - seen.packs * few)[more]
            costs[group] = float(np.median(over_X))
            if costs[group] <= 0:  # shorter than empty packs: no line goes through both
                costs[group], at_least, few = float(np.median(taken_X[more] / operations_X[more])), 0.0, 0.0
        per_pack += max(0.0, at_least - few * costs.get(group, 0.0))
    # A run of text alone tells nothing of the encoder.
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


def line_of(operations: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """(operations per second, seconds that they do not explain) of the line through measured steps.

    The slope is that of least squares, between nothing and what would explain all; the line goes through the medians.
    """
    middle, median = float(np.median(operations)), float(np.median(seconds))
    slope = float(np.polyfit(operations, seconds, 1)[0]) if np.ptp(operations) > 0 else median / middle
    slope = min(max(slope, 0.05 * median / middle), median / middle)
    return 1 / slope, median - slope * middle
