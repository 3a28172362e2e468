"""The training loop: fetch, step, log, evaluate, save, until the steps are done or a signal asks to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Protocol

import torch
from torch import nn

from mm15.base.batch import PackedBatch
from mm15.base.errors import ConfigError, DataError, NonFiniteError
from mm15.base.memory import keep_freed_memory
from mm15.dist.ranks import any_rank, data_place, is_first, layout, rank_device
from mm15.train import checkpoint
from mm15.train.log import RunLog
from mm15.train.optim import OptimizerSet, build_optimizer, matmul_dtype, rate_factor
from mm15.train.parallel import parallelise
from mm15.train.rehearsal import rehearse
from mm15.train.run_config import TrainConfig
from mm15.train.saving import Saver
from mm15.train.step import train_step
from mm15.train.watch import Watch
from mm15.train.weights import Weights, fill


class Batches(Protocol):
    """What the loop needs of a loader: packs in an order that is a pure function of their number."""

    def state(self) -> dict[str, Any]:
        """Where it stands, JSON values: the packs handed out so far are the ones it will not give again."""
        ...

    def restore(self, state: Mapping[str, Any], accept_plan: bool = False) -> None:
        """Go on from a saved state. Raises ``PlanMismatch`` for another order of packs, unless that is accepted."""
        ...

    def __iter__(self) -> Iterator[tuple[int, PackedBatch]]:
        """(pack number, batch) from there on."""
        ...


class Hook(Protocol):
    """Something to do every so many steps and after the last, such as an evaluation."""

    every: int

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any]:
        """What it returns becomes a line of the log."""
        ...


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended. ``interrupted``: a signal came; everything is saved and ``mm15 resume`` goes on."""

    status: Literal["finished", "interrupted"]
    folder: Path
    step: int
    steps: int
    loss: float
    """Of the last step taken in this process; NaN if there was none."""
    skipped: int
    tokens: int
    tiles: int
    samples: int
    seconds: float
    save_stall: float = 0.0
    """Seconds of them in which the loop stood still for saving."""


def train(
    model: nn.Module,
    loader: Batches,
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    accept_plan: bool = False,
    hooks: Sequence[Hook] = (),
    on_log: Callable[[dict[str, Any]], None] | None = None,
    name: str = "train",
    sources: Sequence[str] = (),
    longest: int | None = None,
    weights: Weights | None = None,
) -> TrainReport:
    """Train in place. Checkpoints, ``log.jsonl`` and ``report.html`` go to the run folder.

    The first SIGINT or SIGTERM finishes the step, saves and returns; a second one acts as if this loop were not there.
    Saves are written beside the training (``saving.Saver``); the log tells in ``save_stall`` how many seconds the loop
    stood still for one before the step.
    A resumed run continues bit for bit (on CPU) as if it had never stopped.

    Every rank calls it; only the first writes the log. A signal to any of them stops all after the same step.

    Args:
        model: forward of a ``PackedBatch`` gives logits, targets and positions; has ``compute_dtype``.
        loader: packs in order; a step takes ``config.accumulation`` of them, in equal parts on every rank.
        resume: continue from the newest valid checkpoint, or from the start where there is none yet.
        accept_plan: resume although the data order is another one than the checkpoint's.
        hooks: called with (steps done, model).
        on_log: called with the record of every step that is shown.
        sources: names of the sources whose losses are told, the same on every rank.
        longest: most tokens of a sample, where the largest pack is rehearsed.
        weights: of a model on the meta device, of which every rank reads its part.

    Raises:
        ConfigError: the folder holds another run's checkpoints and ``resume`` is off, the optimizer config is wrong, or
            the packs of a step cannot be dealt evenly to the ranks.
        NonFiniteError: ``config.max_bad_steps`` steps in a row were skipped; names their samples.
        PlanMismatch: the data order is another one than the checkpoint's.
        DataError: the loader ended early.
        MM15Error: two checkpoints in a row could not be written, or the last one.
    """
    packs_here = packs_per_rank(config)
    # What is shared out may be too large for one device: it gets there part by part.
    device = next(model.parameters()).device if weights is None and config.parallel.shard == "none" else rank_device()
    if device.type == "cpu":
        keep_freed_memory()
    dtype = compute_dtype(config, device)
    model.compute_dtype = dtype  # type: ignore[assignment]  # a plain attribute, which nn.Module declares as a module
    parallelise(model, config.parallel, mesh=layout())
    if weights is not None:
        fill(model, weights, device)
    optimizer = build_optimizer(model, config.optimizer)
    start = _restore(model, optimizer, loader, folder / "checkpoints", accept_plan) if resume else _fresh(folder)
    model.train()

    watch = Watch(model, optimizer, config, folder, name, dtype, sources)
    stalled = 0.0
    bad = skipped = tokens = tiles = samples = 0
    done, loss, began = start, float("nan"), time.perf_counter()
    stopping = False
    # The first rank speaks for all: what a step reports is summed over ranks.
    with (
        RunLog(folder, config.steps, name, start, silent=not is_first()) as log,
        # The log is on the disk before a checkpoint is, so that none knows more than its log.
        Saver(folder / "checkpoints", config.keep, before=log.sync) as saver,
        StopSignal() as stop,
        watch,
    ):
        log.peak = watch.peak
        if watch.peak:
            log.say(f"MFU counts against {watch.peak / 1e12:,.3f} TFLOP/s: {watch.basis}")
        if device.type == "cuda" if config.rehearse is None else config.rehearse:
            log.say(rehearse(model, optimizer, config, longest).told())
        batches = iter(loader)
        while done < config.steps and not stopping:
            factor = rate_factor(done, config.steps, config.schedule)
            optimizer.set_rate(factor)
            watch.before(done + 1)
            before = time.perf_counter()
            packs = _take(batches, packs_here, done)
            waited = time.perf_counter() - before
            told = (watch.sources, watch.flops_of, watch.clock)
            report = train_step(model, optimizer, packs, config.optimizer.clip, config.z_loss, *told)
            seconds = time.perf_counter() - before

            done += 1
            loss, tokens = report.loss, tokens + report.tokens
            tiles, samples = tiles + report.tiles, samples + report.samples
            record = {"step": done, **asdict(report), "rate_factor": factor, "seconds": seconds, "waited": waited}
            record |= watch.told(record)
            if not report.skipped:
                del record["skipped"], record["suspects"]
            for optional in ("routing", "parts"):
                if not record[optional]:
                    del record[optional]
            shown = done % config.log_every == 0 or done == config.steps
            log.step(record, shown)
            watch.after(record)
            if shown and on_log:
                on_log(record)

            bad, skipped = (bad + 1, skipped + 1) if report.skipped else (0, skipped)
            if report.skipped:
                about = f"step {done} was skipped: {report.skipped}. Samples: {', '.join(report.suspects)}"
                if bad >= config.max_bad_steps:
                    raise NonFiniteError(f"{bad} steps in a row were skipped. {about}. Check these, or lower the rate")
                log.say(about)

            for hook in hooks:
                if done % hook.every == 0 or done == config.steps:
                    log.write(line := {"step": done, **hook(done, model)})
                    watch.after(line)
                    model.train()
            stopping = any_rank(stop.asked)
            if done % config.save_every == 0 or done == config.steps or stopping:
                saver.start(done, model, optimizer, loader.state())
                stalled += saver.stall
                watch.saved(saver.stall)
        if done > start:
            saver.finish()
            stalled += saver.stall
    return TrainReport(
        status="finished" if done >= config.steps else "interrupted",
        folder=folder,
        step=done,
        steps=config.steps,
        loss=loss,
        skipped=skipped,
        tokens=tokens,
        tiles=tiles,
        samples=samples,
        seconds=time.perf_counter() - began,
        save_stall=stalled,
    )


def packs_per_rank(config: TrainConfig) -> int:
    """How many of a step's packs each rank takes.

    Raises:
        ConfigError: they cannot be dealt evenly.
    """
    _, world = data_place()
    if config.accumulation % world:
        raise ConfigError(
            [f"train.accumulation: {config.accumulation} packs a step cannot be dealt evenly to {world} ranks"],
            "recipe",
        )
    return config.accumulation // world


def compute_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The dtype of activations: as asked, or bf16 where the device multiplies it natively."""
    if config.precision == "auto":
        return matmul_dtype(device)
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


class StopSignal:
    """Context in which the first SIGINT or SIGTERM only sets ``asked``; the second finds the previous handlers."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        # Python lets only the main thread set handlers; elsewhere the owner of the thread decides.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.__exit__(None, None, None)


def _fresh(folder: Path) -> int:
    """No steps are done, and none may be: a new run does not bury an old one."""
    if any(folder.glob("checkpoints/step-*")):
        raise ConfigError([f"{folder} holds checkpoints: resume that run, or give another folder"], str(folder))
    return 0


def _restore(model: nn.Module, optimizer: OptimizerSet, loader: Batches, root: Path, accept_plan: bool) -> int:
    """Steps already done, with model, optimizer and loader put back to that point."""
    found = checkpoint.newest_valid(root)
    if found is None:
        return 0
    loader.restore(found.loader, accept_plan)
    checkpoint.load(found, model, optimizer)
    return found.step


def _take(batches: Iterator[tuple[int, PackedBatch]], count: int, done: int) -> list[PackedBatch]:
    taken = [pack for pack in (next(batches, None) for _ in range(count)) if pack is not None]
    if len(taken) < count:
        raise DataError(f"the loader ended after {done} steps and {len(taken)} of the next step's {count} packs")
    return [batch for _, batch in taken]
