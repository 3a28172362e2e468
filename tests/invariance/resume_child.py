"""Runs of one training in forked children that are killed at chosen moments. Used by test_resume.

    python resume_child.py FOLDER PLAN

PLAN is a JSON list; each entry is one child that resumes the run in FOLDER: ``["kill", seconds]`` is killed from
outside after so long, ``["flush", n]`` and ``["rename", n]`` die instead of the n-th flush to disk or rename of a file,
``["term", step]`` gets SIGTERM in that step, ``["run"]`` goes to the end. Prints the children's exit codes. Forking
after the imports makes a child cost milliseconds; the parent itself never computes.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from mm15.train.loop import train
from mm15.train.run_config import OptimizerConfig, TrainConfig
from training_fixture import RandomPacks, debug_model

CONFIG = TrainConfig(
    steps=40,
    accumulation=2,
    save_every=5,
    log_every=40,
    precision="fp32",
    optimizer=OptimizerConfig(kind="muon", lr=2e-3, weight_decay=0.1, lr_scale={"vision": 0.5}),
)


def die_in(owner: object, name: str, call: int) -> None:
    """Kill this process, as kill -9 would, instead of the given call of a function."""
    real, left = getattr(owner, name), [call]

    def counted(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, name, counted)


class Terminate:
    """A hook that sends SIGTERM once its step is done."""

    def __init__(self, step: int) -> None:
        self.every = step

    def __call__(self, step: int, model: object) -> dict[str, bool]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"asked_to_stop": True}


def child(folder: Path, kind: str, number: int = 0) -> None:
    if kind == "flush":
        die_in(os, "fsync", number)
    if kind == "rename":
        die_in(Path, "rename", number)
    hooks = [Terminate(number)] if kind == "term" else []
    model = debug_model()
    report = train(model, RandomPacks(), CONFIG, folder, resume=True, hooks=hooks)
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    (folder / "end.json").write_text(
        json.dumps({"status": report.status, "step": report.step, "hash": digest.hexdigest()})
    )


def main(folder: Path, plan: list[list]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    codes = []
    for kind, *rest in plan:
        pid = os.fork()
        if pid == 0:
            child(folder, kind, *rest)
            os._exit(0)
        if kind == "kill":
            time.sleep(rest[0])
            os.kill(pid, signal.SIGKILL)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
