"""Runs in forked ranks that are killed, stopped or starved at chosen points, and what they leave behind.

    python faults_fixture.py FOLDER ORDERS

ORDERS is a JSON object: ``task`` (a name in ``TASKS``) and its arguments. Prints a JSON answer as its last line.
Forking after the imports makes a rank cost milliseconds; the parent itself never computes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import mm15
from mm15.base.errors import MM15Error
from mm15.data.loader import Loader
from mm15.processor import Processor
from mm15.stage import LOG, RECIPE, resume_stage, start_stage
from mm15.train.loop import train
from stage_fixture import Terminate, small_recipe
from training_fixture import FAULTY, Poison, RandomPacks, debug_model, random_pack

STAGES = {"pretrain": 80, "continual": 60, "sft": 60}
"""200 steps of three stages."""
NAN = float("nan")


def ask(folder: Path, timeout: float = 280, **orders: Any) -> Any:
    """Run a task in a process of its own; its answer."""
    paths = [str(Path(mm15.__file__).parents[1]), str(Path(__file__).parent)]
    result = subprocess.run(
        [sys.executable, __file__, str(folder), json.dumps(orders, default=str)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.splitlines()[-1])


def ending(run: Path) -> tuple[list[Any], str]:
    """What every step of a run saw, and the hash of the weights that it left."""
    records = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    series = [
        (r["step"], r["loss"], r["grad_norm"], r["targets"], r["categories"], r["rate_factor"])
        for r in records
        if "loss" in r
    ]
    return series, hashlib.sha256((run / "bundle" / "model.safetensors").read_bytes()).hexdigest()


def losses(run: Path) -> list[float]:
    return [entry[1] for entry in ending(run)[0]]


def forked(folder: Path, world: int, work: Callable[[int], Any], kill: dict[str, Any] | None = None) -> list[int]:
    """Exit codes of ``world`` forked ranks that work; ``kill`` says which dies, when. As under torchrun, a rank that
    ends badly ends the others."""
    meeting = folder / f"meeting-{os.getpid()}-{time.monotonic_ns()}"
    pids: dict[int, int] = {}
    for rank in range(world):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                torch.set_num_threads(1)
                if kill and "call" in kill and kill["rank"] == rank:
                    die_in(*WAYS[kill["call"]], kill["nth"])
                if world > 1:
                    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
                work(rank)
                code = 0
            except BaseException as error:
                print(f"rank {rank}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                sys.stdout.flush()
                os._exit(code)
        pids[pid] = rank
    began, codes = time.monotonic(), [0] * world
    while pids:
        if kill and "after" in kill and time.monotonic() - began >= kill["after"]:
            for pid in [pid for pid, rank in pids.items() if rank == kill["rank"]]:
                os.kill(pid, signal.SIGKILL)
            kill = None
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            time.sleep(0.002)
            continue
        codes[pids.pop(pid)] = os.waitstatus_to_exitcode(status)
        if status:
            time.sleep(0.05)
            for other in pids:
                os.kill(other, signal.SIGKILL)
    meeting.unlink(missing_ok=True)
    return codes


WAYS: dict[str, tuple[Any, str]] = {
    "flush": (os, "fsync"),
    "rename": (Path, "rename"),
    "replace": (os, "replace"),
    "write": (hashlib, "file_digest"),
    "step": (torch.nn.utils, "clip_grad_norm_"),
}
"""What a rank can die instead of: a flush to disk, a rename, the hashing of a file just written, the end of a step."""


def die_in(owner: object, name: str, call: int) -> None:
    """Kill this process, as kill -9 would, instead of the given call of a function."""
    real, left = getattr(owner, name), [call]

    def counted(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, name, counted)


def round_otherwise(seed: int) -> None:
    """Gradients of this process get the noise of one rounding more, 2⁻²⁴ of each, before they are clipped."""
    real, generator = torch.nn.utils.clip_grad_norm_, torch.Generator().manual_seed(seed)

    def noisy(parameters: Any, *arguments: Any, **options: Any) -> Any:
        parameters = list(parameters)
        for grad in (parameter.grad for parameter in parameters if parameter.grad is not None):
            grad.mul_(1 + 2**-24 * torch.randn(grad.shape, generator=generator))
        return real(parameters, *arguments, **options)

    torch.nn.utils.clip_grad_norm_ = noisy


def three_stages(folder: Path, data: Path, rank: int) -> None:
    """All stages, each from the bundle of the one before; goes on wherever an earlier attempt ended."""
    init: Path | None = None
    for stage, steps in STAGES.items():
        run = folder / stage
        if not (run / "bundle").exists():
            if (run / LOG).exists():
                resume_stage(run)
            else:
                recipe = small_recipe(stage, train={"steps": steps, "accumulation": 2, "save_every": 8})
                start_stage(recipe, run, data, init)
        init = run / "bundle"


def kills(folder: Path, data: str, world: int, kills: list[dict[str, Any]]) -> dict[str, Any]:
    """Go through the kills, in as many three-stage runs as they last for, each brought to its end."""
    done, lap, deaths, missed = [], 0, 0, 0
    pending = list(kills)
    while pending or deaths:
        place = folder / f"run-{lap}"
        place.mkdir(parents=True, exist_ok=True)
        kill = pending[0] if pending else None
        codes = forked(place, world, partial(three_stages, place, Path(data)), kill)
        if any(codes):
            assert kill and codes[kill["rank"]] == -9, (kill, codes)
            done.append(pending.pop(0))
            deaths, missed = deaths + 1, 0
        else:
            # What was left of a run may have been too short for the moment; a whole run must reach it.
            missed = missed + 1 if kill else 0
            assert missed < 3, f"never reached: {kill}"
            lap, deaths = lap + 1, 0
    return {"killed": done, "runs": lap}


def straight(folder: Path, data: str, world: int, rounding: int | None = None) -> dict[str, Any]:
    """The three stages without any accident; ``rounding``: a seed by which the last bit of gradients is drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def work(rank: int) -> None:
        if rounding is not None:
            round_otherwise(rounding)
        three_stages(folder, Path(data), rank)

    codes = forked(folder, world, work)
    return {"codes": codes, "seconds": time.monotonic() - began}


def _elastic(folder: Path, data: Path, stop: int, rank: int) -> None:
    real = Loader.__next__
    keys = folder.parent / f"{folder.name}-keys-{os.getpid()}.jsonl"

    def noted(loader: Loader) -> Any:
        number, batch = real(loader)
        with keys.open("a") as file:
            file.write(json.dumps([number, list(batch.keys)]) + "\n")
        return number, batch

    Loader.__next__ = noted  # type: ignore[method-assign]
    hooks = [Terminate(stop)] if stop else []
    if (folder / LOG).exists():
        resume_stage(folder, hooks=hooks)
    else:
        recipe = small_recipe("sft", train={"steps": 12, "accumulation": 4, "save_every": 4})
        start_stage(recipe, folder, data, hooks=hooks)


def elastic(folder: Path, data: str, legs: list[list[int]]) -> list[list[int]]:
    """One run in legs of (ranks, workers, step to stop after; 0: to the end)."""
    codes = []
    folder.parent.mkdir(parents=True, exist_ok=True)
    for world, workers, stop in legs:
        if (folder / RECIPE).exists():
            text = (folder / RECIPE).read_text()
            (folder / RECIPE).write_text(re.sub(r"(?m)^workers: \d+$", f"workers: {workers}", text))
        codes.append(forked(folder.parent, world, partial(_elastic, folder, Path(data), stop)))
    return codes


class DealtPacks(RandomPacks):
    """Random packs dealt to the ranks, as the loader deals them."""

    def __iter__(self) -> Any:
        world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        while True:
            self.position += world
            yield self.position - world + rank, random_pack(self.position - world + rank, self.samples)


def poisoned(folder: Path, world: int, keys: list[str], steps: int) -> list[int]:
    """Training with poisoned samples; weights of every rank are written down at the end."""

    def work(rank: int) -> None:
        model = Poison(keys)
        try:
            train(model, DealtPacks(), FAULTY.model_copy(update={"steps": steps}), folder / "run")
        except MM15Error as error:
            (folder / f"error-{rank}").write_text(str(error))
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values()))
        (folder / f"weights-{rank}").write_text(digest.hexdigest())

    folder.mkdir(parents=True, exist_ok=True)
    return forked(folder, world, work)


def written(checkpoint: Path) -> None:
    """Wait for the save before, so that the fault meets the next one."""
    while not checkpoint.exists():
        time.sleep(0.01)


def full_disk(folder: Path, limit: int, world: int = 1) -> dict[str, Any]:
    """Ten steps; from the fifth on no file may be longer than ``limit`` bytes. Then the rest without a limit."""

    class Fill:
        every = 5

        def __call__(self, step: int, model: Any) -> dict[str, Any]:
            if step == 5:
                written(folder / "run" / "checkpoints" / "step-00000004")
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            return {"limit": limit}

    def work(filling: bool, rank: int) -> None:
        hooks = [Fill()] if filling else []
        try:
            report = train(debug_model(), DealtPacks(), FAULTY, folder / "run", resume=not filling, hooks=hooks)
            (folder / f"end-{filling}").write_text(f"{report.status} {report.step}")
        except MM15Error as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            (folder / f"end-{filling}").write_text(str(error))

    folder.mkdir(parents=True, exist_ok=True)
    first = forked(folder, world, partial(work, True))
    between = sorted(path.name for path in (folder / "run" / "checkpoints").iterdir())
    second = forked(folder, world, partial(work, False))
    told = [(folder / f"end-{filling}").read_text() for filling in (True, False)]
    return {"codes": [*first, *second], "between": between, "told": told}


def read_only(folder: Path, step: int) -> dict[str, Any]:
    """Ten steps as a user who may not write to the checkpoints, from the start (0) or from a step on."""

    class Lock:
        every = max(1, step)

        def __call__(self, at: int, model: Any) -> dict[str, Any]:
            if at == step:
                written(root / "step-00000004")
                root.chmod(0o555)
            return {}

    def work(rank: int) -> None:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            train(debug_model(), DealtPacks(), FAULTY, folder / "run", hooks=[Lock()] if step else [])
            (folder / "end").write_text("finished")
        except MM15Error as error:
            (folder / "end").write_text(str(error))

    root = folder / "run" / "checkpoints"
    root.mkdir(parents=True)
    for path in (folder, folder / "run", root):
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
    if not step:
        root.chmod(0o555)
    codes = forked(folder, 1, work)
    root.chmod(0o755)
    return {"codes": codes, "left": sorted(path.name for path in root.iterdir()), "told": (folder / "end").read_text()}


class StuckProcessor(Processor):
    """Encodes a few samples, then sleeps."""

    count = 0

    def encode(self, sample: Any) -> Any:
        self.count += 1
        if self.count > 8:
            fall_asleep()
        return super().encode(sample)


def fall_asleep() -> None:
    time.sleep(1e6)


def random_kills(seed: int, world: int, seconds: float) -> list[dict[str, Any]]:
    """Fifteen deaths: five at any moment, five inside a save, five in flushes and renames."""
    rng = random.Random(seed)
    anywhen = [{"after": round(rng.uniform(0.2, seconds / 2), 3)} for _ in range(3)]
    steps = [{"call": "step", "nth": rng.randint(1, 90)} for _ in range(2)]
    inside = [{"call": "write", "nth": rng.randint(1, 16)} for _ in range(5)]
    ends = [{"call": "flush", "nth": rng.randint(5, 60)} for _ in range(3)]
    ends += [{"call": "rename", "nth": rng.randint(1, 16)} for _ in range(1)]
    ends += [{"call": "replace", "nth": rng.randint(4, 16)} for _ in range(1)]
    every = [{**kill, "rank": rng.randrange(world)} for kill in (*anywhen, *steps, *inside, *ends)]
    # The first rank alone writes the manifest and renames; the log is its own, others flush only their part of a save.
    every = [{**kill, "rank": 0} if kill.get("call") in ("rename", "replace") else kill for kill in every]
    every = [
        {**kill, "nth": 1 + kill["nth"] % 16} if kill["rank"] and kill.get("call") == "flush" else kill
        for kill in every
    ]
    rng.shuffle(every)
    return every


TASKS = {task.__name__: task for task in (kills, straight, elastic, poisoned, full_disk, read_only)}


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    answer = TASKS[asked.pop("task")](Path(sys.argv[1]), **asked)
    print(json.dumps(answer))
