"""A run that is killed again and again ends with the bits of the run that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mm15
from mm15.base.rng import python_rng

HERE = Path(__file__).parent


def play(folder: Path, plan: list) -> list[int]:
    """Run the children of a plan; their exit codes."""
    paths = [str(Path(mm15.__file__).parents[1]), str(HERE.parent)]
    result = subprocess.run(
        [sys.executable, str(HERE / "resume_child.py"), str(folder), json.dumps(plan)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def ending(folder: Path) -> tuple[dict, list]:
    """How the run ended, and what each step saw."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    seen = [
        (r["step"], r["loss"], r["grad_norm"], r["targets"], r["categories"], r["rate_factor"])
        for r in records
        if "loss" in r
    ]
    return json.loads((folder / "end.json").read_text()), seen


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    assert play(folder, [["run"]]) == [0]
    end, series = ending(folder)
    assert (end["status"], end["step"]) == ("finished", 40)
    assert [entry[0] for entry in series] == list(range(1, 41))
    return end, series


def test_kill_at_ten_moments_then_resume_is_the_straight_run(straight, tmp_path):
    # Flushes: 1-2 start the log, 3 log, 4 weights, 5 metadata, 6-7 manifest, 8 folder. Renames: 1 metadata, 2 folder.
    inside = [["flush", 1], ["flush", 4], ["rename", 2], ["flush", 6], ["flush", 8], ["rename", 3], ["flush", 11]]
    rng = python_rng(5, "kills")
    anywhere = [["kill", round(rng.uniform(0.05, 0.6), 3)] for _ in range(4)]
    codes = play(tmp_path / "run", [*inside, *anywhere, ["run"]])
    assert codes[: len(inside)] == [-9] * len(inside)
    assert codes[-1] == 0
    assert ending(tmp_path / "run") == straight


def test_sigterm_saves_and_the_run_goes_on(straight, tmp_path):
    assert play(tmp_path / "run", [["term", 8]]) == [0]
    end = json.loads((tmp_path / "run" / "end.json").read_text())
    assert (end["status"], end["step"]) == ("interrupted", 8)
    assert max((tmp_path / "run" / "checkpoints").glob("step-*")).name == "step-00000008"
    assert play(tmp_path / "run", [["run"]]) == [0]
    assert ending(tmp_path / "run") == straight
