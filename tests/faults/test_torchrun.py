"""The command that a cluster uses: ``torchrun -m mm15 train``, stopped, resumed with other ranks, is one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mm15
from faults_fixture import losses
from mm15.base.config import to_yaml
from stage_fixture import small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
STEPS = 30


def mm15_command(ranks: int, *words: str) -> subprocess.Popen[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(Path(mm15.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *torchrun, "-m", "mm15", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_done(run: Path) -> int:
    return (run / "log.jsonl").read_text().count('"loss"') if (run / "log.jsonl").exists() else 0


def test_two_ranks_stopped_and_resumed_with_four_are_one_process(small_data: Path, tmp_path: Path, figure):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(to_yaml(small_recipe("sft", train={"steps": STEPS, "accumulation": 4, "save_every": 9})))

    def start(ranks: int, name: str) -> subprocess.Popen[str]:
        return mm15_command(ranks, "train", str(recipe), "--out", str(tmp_path / name), "--data", str(small_data))

    one = start(1, "one")
    told, errors = one.communicate(timeout=900)
    assert one.returncode == 0, errors[-3000:]
    two = start(2, "two")
    told, errors = two.communicate(timeout=900)
    assert two.returncode == 0, errors[-3000:]
    assert told.count("is ready. Next: mm15 chat") == 1

    run = tmp_path / "stopped"
    stopped = start(2, "stopped")
    while steps_done(run) < 5:
        assert stopped.poll() is None, stopped.communicate()[1][-3000:]
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)
    told, errors = stopped.communicate(timeout=300)
    assert f"Go on with: mm15 resume {run}" in told, errors[-3000:]
    first = steps_done(run)
    assert 5 <= first < STEPS
    assert json.loads(max((run / "checkpoints").glob("step-*/manifest.json")).read_text())["step"] == first
    four = mm15_command(4, "resume", str(run))
    told, errors = four.communicate(timeout=900)
    assert four.returncode == 0, errors[-3000:]

    series = {name: losses(tmp_path / name) for name in ("one", "two", "stopped")}
    assert series["two"] == pytest.approx(series["one"], rel=1e-5)
    assert series["stopped"] == pytest.approx(series["one"], rel=1e-5)
    far = max(abs(a - b) / a for a, b in zip(series["one"], series["stopped"], strict=True))
    figure(f"torchrun, 2 ranks, SIGTERM after step {first}, resumed with 4", "1", f"losses of one process to {far:.1e}")
