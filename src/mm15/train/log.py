"""What a run tells: one line on the screen, and every step as a line of ``log.jsonl``."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mm15.io.atomic import write_atomic
from mm15.train._lines import Lines


class RunLog:
    """Progress of one run; a context manager.

    ``log.jsonl`` grows by one line per step, flushed at once, so a kill loses nothing before the last save. A resumed
    run (``start`` > 0) drops the lines beyond its start, and the file reads like that of an uninterrupted run.

    Args:
        folder: the run folder.
        total_steps: for the bar and the time left.
        name: shown in front, such as the stage.
        start: steps already done.
        silent: write and show nothing, as every rank but the first.
    """

    def __init__(self, folder: Path, total_steps: int, name: str, start: int = 0, silent: bool = False) -> None:
        self.path = folder / "log.jsonl"
        self.total_steps, self.name = total_steps, name
        self.silent = silent
        if not silent:
            kept = [line for line in _lines(self.path) if line["step"] <= start] if start else []
            write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = Lines(os.devnull if silent else self.path)
        self._full = False
        self._console = Console(stderr=True, quiet=silent)
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not silent:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
            self._task = self._bar.add_task(name, total=total_steps, completed=start, text="")
        self.peak = 0.0
        """FLOP/s of all ranks together that an MFU of 1 stands for; 0: no MFU is shown."""
        self._window = _Window()

    def __enter__(self) -> RunLog:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        self._file.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line; ``record`` has a ``step`` (steps done). NaN and Inf, which JSON lacks, become null."""
        full = not self._file.write(json.dumps(_plain(record)) + "\n")
        if full and not self._full:
            self.say(f"{self.path} cannot be written (disk full?): its lines wait in memory, and saving will fail")
        self._full = full

    def step(self, record: Mapping[str, Any], show: bool) -> None:
        """Append the line of a step, and show progress since the last time if ``show``.

        ``record`` also has ``loss``, ``tokens``, ``tiles``, ``seconds`` of the step, and of them ``waited`` for data;
        it may have ``flops`` and ``memory`` (bytes by kind).
        """
        self.write(record)
        self._window.add(record)
        if self._bar:
            self._bar.update(self._task, completed=record["step"])
        if show and not self.silent:
            text = self._window.text(float(record["loss"]), self.peak)
            if self._bar:
                self._bar.update(self._task, text=text)
            else:
                left = (self.total_steps - record["step"]) * self._window.seconds / self._window.steps
                print(
                    f"{self.name} {record['step']}/{self.total_steps} {text} · {_clock(left)} left",
                    file=sys.stderr,
                    flush=True,
                )
            self._window = _Window()

    def say(self, sentence: str) -> None:
        """A sentence for the user, above the bar."""
        self._console.print(sentence, highlight=False, markup=False)

    def sync(self) -> None:
        """Push the file to the disk, so that a checkpoint never knows more than its log."""
        if not self.silent:
            self._file.sync()


class _Window:
    """Steps since the last line on the screen."""

    def __init__(self) -> None:
        self.steps = self.tokens = self.tiles = self.flops = 0
        self.memory: Mapping[str, int] = {}
        self.seconds = self.waited = 0.0

    def add(self, record: Mapping[str, Any]) -> None:
        self.steps += 1
        self.tokens += record["tokens"]
        self.tiles += record["tiles"]
        self.seconds += record["seconds"]
        self.waited += record["waited"]
        self.flops += record.get("flops", 0)
        self.memory = record.get("memory", {})

    def text(self, loss: float, peak: float = 0.0) -> str:
        parts = [f"loss {loss:.3f}", f"{self.tokens / self.seconds:,.0f} tokens/s"]
        if self.tiles:
            parts.append(f"{self.tiles / self.seconds:,.1f} tiles/s")
        if self.flops and peak:
            parts.append(f"MFU {self.flops / self.seconds / peak:.1%}")
        parts.append(f"data wait {self.waited / self.seconds:.0%}")
        if memory := self.memory.get("rss"):
            parts.append(f"{memory / 2**30:.1f} GiB")
        if "reserved" in self.memory:
            parts.append(f"GPU {self.memory['allocated'] / 2**30:.1f} of {self.memory['reserved'] / 2**30:.1f} GiB")
        return " · ".join(parts)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no Inf: null, however deep."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last line torn by a kill is left out."""
    if not path.exists():
        return []
    return [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))
