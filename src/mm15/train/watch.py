"""What is told about a run while it goes on: work and memory of every step, the report, trackers, a profiler window."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mm15.base.batch import PackedBatch
from mm15.dist.ranks import is_first, place
from mm15.io.atomic import write_atomic
from mm15.model.multimodal import MultimodalModel
from mm15.train.machine import Peak, memory, peak_of
from mm15.train.optim import OptimizerSet
from mm15.train.parts import StepClock
from mm15.train.rehearsal import rehearse_small
from mm15.train.run_config import TrainConfig
from mm15.train.run_report import write_report
from mm15.train.run_state import NOTE, History
from mm15.train.trackers import Tracker, open_trackers, scalars
from mm15.train.work import StepWork

PROFILE = "profile"
SMALL_BEFORE = range(6, 106, 5)
"""Steps before which a small pack is measured, where parts are told."""


class Watch:
    """A context around a run's steps. Every rank has one; only the first writes. It changes no number of the run.

    Args:
        model: as the optimizer left it: what is frozen costs less.
        dtype: of activations, for the device's best speed.
        sources: names of the sources whose loss is told.

    Raises:
        MissingExtra: a tracker's package is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerSet,
        config: TrainConfig,
        folder: Path,
        name: str,
        dtype: torch.dtype,
        sources: Sequence[str] = (),
    ) -> None:
        self.folder, self.name, self.config, self.sources = folder, name, config, tuple(sources)
        self.flops_of: Callable[[PackedBatch], int] | None = StepWork(model) if hasattr(model, "config") else None
        self._model, self._optimizer = model, optimizer
        self._small: dict[str, float] | None = None
        self._device = next(model.parameters()).device
        can_tell = self._device.type == "cpu" and hasattr(model, "vision") and hasattr(model, "connector")
        self.clock = StepClock(model) if can_tell else None
        self._speaks = is_first()
        _, world = place()
        one = peak_of(self._device, dtype) if self.flops_of else Peak(0.0, "")
        self.peak, self.basis = one.flops * world, one.basis + (f", times {world} ranks" if world > 1 else "")
        start, _, steps = config.profile.partition(":")
        self._window = range(int(start), int(start) + int(steps)) if config.profile and self._speaks else range(0)
        self._profiler: profile | None = None
        self._stall: float | None = None
        self._trackers: list[Tracker] = []
        self._written, self._failed = float("-inf"), False
        self._history = History(folder)
        self._about = {
            "name": name,
            "steps": config.steps,
            "device": _device_name(self._device),
            "ranks": world,
            "dtype": str(dtype).removeprefix("torch."),
            "peak": self.peak,
            "basis": self.basis,
            "torch": torch.__version__,
        }
        if self._speaks:
            told = {"train": config.model_dump(mode="json"), **self._about}
            self._trackers = open_trackers(config.trackers, folder, name, told)

    def __enter__(self) -> Watch:
        self._note("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_profile()
        if self.clock:
            self.clock.close()
        for tracker in self._trackers:
            tracker.close()
        done = self._history.read().step if self._speaks else 0
        self._note("failed" if kind else "finished" if done >= self.config.steps else "interrupted")
        self._report(now=True)

    def before(self, step: int) -> None:
        """Step number ``step`` (from 1) is about to begin. Every rank must call it."""
        if self.clock and step in SMALL_BEFORE and isinstance(self._model, MultimodalModel):
            self._small = rehearse_small(self._model, self._optimizer, self.clock, self.config, self.sources)
        if self._profiler is None and step in self._window:
            activities = [ProfilerActivity.CPU]
            if self._device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=activities, record_shapes=True, profile_memory=True)
            self._profiler.start()

    def told(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What the line of a step has beside the step's own report: ``rate``, ``mfu``, ``memory``, ``small``
        (seconds by part of a small pack), ``save_stall``."""
        groups = self._optimizer.optimizers[0].param_groups if self._optimizer.optimizers else []
        found: dict[str, Any] = {"rate": float(groups[0]["lr"])} if groups else {}
        if self.peak and record["seconds"]:
            found["mfu"] = record["flops"] / record["seconds"] / self.peak
        found["memory"] = memory(self._device)
        if self._small is not None:
            found["small"], self._small = self._small, None
        if self._stall is not None:
            found["save_stall"], self._stall = self._stall, None
        return found

    def after(self, record: Mapping[str, Any]) -> None:
        """A line was written to the log: of a step, or of a hook."""
        if record["step"] + 1 not in self._window:
            self._end_profile()
        if not self._speaks:
            return
        for tracker in self._trackers:
            tracker.log(record["step"], scalars(record))
        self._report()

    def saved(self, seconds: float) -> None:
        """Saving a checkpoint held the run up for so long; the next step's line tells it."""
        self._stall = seconds

    def _report(self, now: bool = False) -> None:
        if self._speaks and (now or time.monotonic() - self._written >= self.config.report_seconds):
            # A page that cannot be written (a full disk, a number nobody thought of) ends no run of days.
            try:
                write_report(self._history.read(), self.config.report_seconds)
            except Exception as error:
                if not self._failed:
                    print(f"report.html was not written: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                self._failed = True
            self._written = time.monotonic()

    def _note(self, state: str) -> None:
        if self._speaks:
            with suppress(OSError):
                write_atomic(self.folder / NOTE, json.dumps({**self._about, "state": state}, indent=1))

    def _end_profile(self) -> None:
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        folder = self.folder / PROFILE
        folder.mkdir(parents=True, exist_ok=True)
        name = f"steps-{self._window.start}-{self._window.stop - 1}"
        profiler.export_chrome_trace(str(folder / f"{name}.trace.json"))
        on_device = self._device.type == "cuda"
        by = "self_device_time_total" if on_device else "self_cpu_time_total"
        rows = profiler.key_averages().table(sort_by=by, row_limit=20, max_name_column_width=60)
        write_atomic(folder / f"{name}.txt", str(rows))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''} a rank"
