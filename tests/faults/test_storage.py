"""Storage that damages, fills up or locks: an older checkpoint is used, what failed is named, nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from faults_fixture import ask
from mm15.train import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0b100
    path.write_bytes(content)


@pytest.mark.parametrize("world", [1, 2])
def test_every_file_damaged_in_every_way(tmp_path: Path, caplog, figure, world: int):
    ask(tmp_path, task="poisoned", world=world, keys=[], steps=4)
    whole = tmp_path / "run" / "checkpoints"
    files = sorted(path.name for path in (whole / "step-00000004").iterdir())
    assert files == [".metadata", *(f"__{rank}_0.distcp" for rank in range(world)), "manifest.json"]
    cases = 0
    for name in files:
        for damage in (truncate, zero, flip):
            root = tmp_path / f"{name}-{damage.__name__}"
            shutil.copytree(whole, root)
            damage(root / "step-00000004" / name)
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                found = checkpoint.newest_valid(root)
            assert found is not None and found.step == 2
            assert "step-00000004" in caplog.text and name in caplog.text
            cases += 1
    figure(f"checkpoint file truncated, zeroed, bit-flipped ({world} ranks)", str(cases), "older one used, file named")


def test_a_disk_that_fills_up_at_twenty_offsets(tmp_path: Path, figure):
    steps = 10
    ask(tmp_path / "straight", task="full_disk", limit=1 << 40)
    wanted = series(tmp_path / "straight")
    assert [step for step, _ in wanted] == list(range(1, steps + 1))
    whole = sum(path.stat().st_size for path in (tmp_path / "straight/run/checkpoints/step-00000010").iterdir())
    stopped = 0
    for offset in [0, 1, 100, 1000, *(whole * part // 16 for part in range(1, 17))]:
        place = tmp_path / f"{offset}"
        answer = ask(place, task="full_disk", limit=offset)
        assert answer["codes"] == [0, 0], answer
        # Steps 6 and 8 cannot be saved and end the run, or the files are short enough after all.
        if answer["told"][0] != "finished 10":
            stopped += 1
            assert "two saves in a row failed" in answer["told"][0] and "File too large" in answer["told"][0]
            assert answer["between"] == ["step-00000002", "step-00000004"]
        assert answer["told"][1] == "finished 10"
        assert series(place) == wanted
    assert stopped >= 15
    figure("disk full", f"20 offsets, {stopped} of them inside a file", "run stops by name, resumes to the same losses")


def series(place: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


@pytest.mark.parametrize("step", [0, 5])
def test_a_folder_that_may_only_be_read(figure, step: int):
    # Not below tmp_path: pytest closes that to the other user that the run becomes where the tests run as root.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        answer = ask(Path(folder) / "place", task="read_only", step=step)
    assert answer["codes"] == [0]
    assert "Permission denied" in answer["told"]
    assert answer["left"] == (["step-00000002", "step-00000004"] if step else [])
    assert ("two saves in a row failed" if step else "checkpoints cannot be written to") in answer["told"]
    figure(f"read-only folder {f'from step {step}' if step else 'at the start'}", "1", "named; earlier ones intact")
