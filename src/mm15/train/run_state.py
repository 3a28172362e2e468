"""What a run folder tells: its log as short curves, and where the run stands. Reads files only; without torch."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mm15.base.errors import ConfigError

LOG, NOTE, RECIPE, SHARES = "log.jsonl", "watch.json", "recipe.yaml", "shares.json"
MOST = 320
"""Points of a curve, at most: a long log is averaged in even runs, so that reading it takes bounded memory."""
RECENT = 50
"""Steps that speeds are told of."""
SILENT_SECONDS = 120.0
"""A run that has said nothing for this long, and for ten steps, may be gone."""


class Curve:
    """(step, value) points, averaged in runs of 1, 2, 4 … as they become many. Values that are missing are left out."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._run, self._open = 1, (0, 0.0, 0.0)

    def add(self, step: float, value: float | None) -> None:
        if value is None:
            return
        count, steps, total = self._open
        self._open = (count + 1, steps + step, total + value)
        if count + 1 == self._run:
            self.points.append(((steps + step) / self._run, (total + value) / self._run))
            self._open = (0, 0.0, 0.0)
        if len(self.points) == MOST:
            self.points = [
                ((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in zip(self.points[::2], self.points[1::2], strict=True)
            ]
            self._run *= 2

    def shown(self) -> list[tuple[float, float]]:
        """The points, with those of the run that is not yet full."""
        count, steps, total = self._open
        return [*self.points, (steps / count, total / count)] if count else list(self.points)


class History:
    """The log of a run, read as far as it goes; ``read`` goes on where it stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start()

    def _start(self) -> None:
        self._offset = 0
        self.step = self.tokens = self.tiles = self.samples = self.skips = 0
        self.seconds = self.stall = 0.0
        self.curves: dict[str, Curve] = {}
        """By name; those of a group as ``sources/NAME``, ``categories/NAME``, ``memory/NAME``."""
        self.skipped: deque[dict[str, Any]] = deque(maxlen=20)
        self.evaluations: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)

    def read(self) -> History:
        """Take in what the log has grown by; a log that became shorter is read anew."""
        path = self.folder / LOG
        if not path.is_file():
            return self
        if path.stat().st_size < self._offset:
            self._start()
        with path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written, or torn by a kill
                self._offset += len(line)
                self._take(json.loads(line))
        return self

    def recently(self, name: str) -> float:
        """Sum over the recent steps."""
        return sum(float(record.get(name) or 0) for record in self.recent)

    def _take(self, record: dict[str, Any]) -> None:
        step = record["step"]
        if "evaluation" in record:
            self.evaluations.append(record)
            for name, score in record["evaluation"].get("scores", {}).items():
                self._add(f"scores/{name}", step, score)
        if "tokens" not in record or "seconds" not in record:
            return
        seconds = max(record["seconds"], 1e-9)
        self.step, self.last = step, record
        self.recent.append(record)
        self.tokens += record["tokens"]
        self.tiles += record.get("tiles", 0)
        self.samples += record.get("samples", 0)
        self.seconds += seconds
        self.stall += record.get("save_stall", 0.0)
        for name in ("loss", "grad_norm", "rate", "save_stall"):
            self._add(name, step, record.get(name))
        for group in ("categories", "sources"):
            for name, value in (record.get(group) or {}).items():
                self._add(f"{group}/{name}", step, value)
        for name, value in (record.get("memory") or {}).items():
            self._add(f"memory/{name}", step, value / 2**30)
        self._add("tokens/s", step, record["tokens"] / seconds)
        self._add("tiles/s", step, record.get("tiles", 0) / seconds)
        self._add("data wait %", step, 100 * record.get("waited", 0.0) / seconds)
        if record.get("mfu"):
            self._add("MFU %", step, 100 * record["mfu"])
        if record.get("skipped"):
            self.skips += 1
            self.skipped.append(record)

    def _add(self, name: str, step: int, value: float | None) -> None:
        if value is not None:
            self.curves.setdefault(name, Curve()).add(step, value)

    def group(self, prefix: str) -> dict[str, list[tuple[float, float]]]:
        """The curves of a group, by the rest of their names, sorted."""
        names = sorted(name for name in self.curves if name.startswith(f"{prefix}/"))
        return {name.removeprefix(f"{prefix}/"): self.curves[name].shown() for name in names}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands. Speeds are of the last ``RECENT`` steps; None where the log has none."""

    folder: str
    name: str
    state: str
    """running, finished, interrupted, failed, or silent (it says it runs, but nothing has come for long)."""
    step: int
    steps: int
    loss: float | None
    tokens_per_second: float | None
    tiles_per_second: float | None
    mfu: float | None
    wait: float | None
    """Share of the time that was spent waiting for data."""
    seconds: float
    left: float | None
    """Seconds to go, at the recent speed."""
    skipped: int
    next_step: str


def note(folder: Path) -> dict[str, Any]:
    """What the run wrote about itself and its machine (``watch.json``), empty where it did not."""
    path = folder / NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def recipe(folder: Path) -> dict[str, Any]:
    """The resolved recipe as plain values, empty where there is none (training without ``stage``)."""
    path = folder / RECIPE
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def check_run(folder: Path) -> None:
    """Raises ``ConfigError`` for a folder that is no run's."""
    if not (folder / LOG).is_file() and not (folder / RECIPE).is_file():
        raise ConfigError([f"{folder} is no run folder: it has neither {LOG} nor {RECIPE}"], str(folder))


def standing(history: History, now: float | None = None) -> Standing:
    """Where the run stands, from its log, its recipe and its note."""
    folder = history.folder
    said, planned = note(folder), recipe(folder)
    steps = int(said.get("steps") or planned.get("train", {}).get("steps") or history.step)
    seconds = history.recently("seconds")
    each = seconds / len(history.recent) if history.recent else 0.0
    log = folder / LOG
    quiet = (time.time() if now is None else now) - log.stat().st_mtime if log.is_file() else 0.0
    state = str(said.get("state") or "running")
    if history.step >= steps:
        state = "finished"
    elif state == "running" and quiet > max(SILENT_SECONDS, 10 * each):
        state = "silent"
    bundle = folder / "bundle"
    if state == "finished":
        following = f"mm15 chat {bundle} --image PICTURE 'question'" if bundle.is_dir() else f"mm15 resume {folder}"
    else:
        following = f"mm15 watch {folder}" if state == "running" else f"mm15 resume {folder}"
    flops, peak = history.recently("flops"), float(said.get("peak") or 0)
    known = bool(history.recent)
    return Standing(
        folder=str(folder),
        name=str(said.get("name") or planned.get("name") or folder.name),
        state=state,
        step=history.step,
        steps=steps,
        loss=history.last.get("loss"),
        tokens_per_second=history.recently("tokens") / seconds if known else None,
        tiles_per_second=history.recently("tiles") / seconds if known else None,
        mfu=flops / seconds / peak if known and flops and peak else None,
        wait=history.recently("waited") / seconds if known else None,
        seconds=history.seconds,
        left=(steps - history.step) * each if known else None,
        skipped=history.skips,
        next_step=following,
    )
