"""Rates of this machine from a measured run: what its steps took against what was in them.

Encoder, decoder and head reach different rates. Where the log tells the seconds of each (``parts``, on CPUs), each gets
its own; the optimizer takes a time per step, and what is left (launching, moving, waiting for other ranks) a time per
pack. Where it does not, all operations have one rate and the rest is a time per step: a line through the steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Seconds of every pack of a rank that no part explains."""
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
    """Seconds of each part of ``train.parts.PARTS``; empty where the log does not tell them of every step."""
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
    recipe = load(Recipe, recipe_file)
    return Measured(recipe, data, **column, seconds=seconds, parts=parts, ranks=_ranks(run, recipe), memory=memory)


def _ranks(run: Path, recipe: Recipe) -> int:
    """As the run notes them; runs of before it did had as many as their recipe says."""
    note = run / NOTE
    return int(json.loads(note.read_text(encoding="utf-8"))["ranks"]) if note.is_file() else recipe.ranks


def calibration_of(
    run: str, operations_XG: np.ndarray, seconds_X: np.ndarray, parts: Mapping[str, np.ndarray], packs: float
) -> Calibration:
    """From measured steps.

    A part's typical share of its step, not its seconds, is what is taken: what slows a machine down for a while slows
    all parts down, and leaves their shares. The shares together are made to explain the median step.

    Args:
        operations_XG: forward and backward operations of X steps by ``GROUPS``.
        parts: seconds of each step by part; empty: a line through the steps.
        packs: of a rank in a step.
    """
    if not parts:
        rate, idle = line_of(operations_XG.sum(1), seconds_X)
        return Calibration(run, dict.fromkeys(GROUPS, rate), idle, 0.0, len(seconds_X))
    of_groups = [parts[group] + parts[f"{group}_back"] for group in GROUPS]
    taken_XP = np.stack([*of_groups, parts["optimizer"]], axis=1)
    rest_X = np.maximum(seconds_X - taken_XP.sum(1), 0)
    shares_P = np.median(np.column_stack([taken_XP, rest_X]) / seconds_X[:, None], axis=0)
    seconds_P = shares_P / shares_P.sum() * np.median(seconds_X)
    middle_G = np.median(operations_XG, axis=0)
    rates = {group: float(o / s) for group, o, s in zip(GROUPS, middle_G, seconds_P, strict=False) if o and s}
    # A run of text alone tells nothing of the encoder.
    rates |= {group: rates["decoder"] for group in GROUPS if group not in rates}
    return Calibration(run, rates, float(seconds_P[-2]), float(seconds_P[-1]) / packs, len(seconds_X))


def line_of(operations: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """(operations per second, seconds that they do not explain) of the line through measured steps.

    The slope is that of least squares, between nothing and what would explain all; the line goes through the medians.
    """
    middle, median = float(np.median(operations)), float(np.median(seconds))
    slope = float(np.polyfit(operations, seconds, 1)[0]) if np.ptp(operations) > 0 else median / middle
    slope = min(max(slope, 0.05 * median / middle), median / middle)
    return 1 / slope, median - slope * middle
