"""Rates of this machine from a measured run: what its steps took against what was in them.

A step takes time for its operations, at one rate, and some for everything that does not depend on what is in it (the
optimizer, the
launching): a line through the steps of the run, by their operations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm15.base.config import load
from mm15.base.errors import ConfigError
from mm15.train.recipe import Recipe

SETTLED = 5
"""First steps of a run that are left out: caches fill, memory is claimed."""
LEAST = 20
"""Steps that a calibration needs."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Operations per second over all ranks of the measured run, and bytes that a process takes beside the model."""

    run: str
    rate: float
    """Forward and backward operations per second."""
    idle: float
    """Seconds of a step that the operations do not explain: the optimizer and what is launched."""
    steps: int
    """How many were measured."""


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
    return Measured(load(Recipe, recipe_file), data, **column, seconds=seconds, memory=memory)


def line_of(operations: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """(operations per second, seconds that they do not explain) of the line through measured steps.

    The slope is that of least squares, between nothing and what would explain all; the line goes through the medians.
    """
    middle, median = float(np.median(operations)), float(np.median(seconds))
    slope = float(np.polyfit(operations, seconds, 1)[0]) if np.ptp(operations) > 0 else median / middle
    slope = min(max(slope, 0.05 * median / middle), median / middle)
    return 1 / slope, median - slope * middle
