"""What goes wrong in a long run – NaN, a damaged file, a full disk – costs at most the steps since the last save."""

import errno
import json
import logging
import os
import resource
import shutil
from dataclasses import replace

import pytest
import torch

from mm15.base.errors import MM15Error, NonFiniteError
from mm15.train import checkpoint
from mm15.train.loop import train
from mm15.train.optim import build_optimizer
from mm15.train.step import train_step
from training_fixture import FAULTY, Poison, RandomPacks, debug_model, random_pack

CONFIG = FAULTY.model_copy(update={"steps": 6})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_bad_step_moves_nothing_and_names_its_samples(value, gradient_only):
    model = Poison({"random/3"}, value, gradient_only)
    optimizer = build_optimizer(model, CONFIG.optimizer)
    train_step(model, optimizer, [random_pack(4)], clip=1.0)
    weights = [p.detach().clone() for p in model.parameters()]
    state = {name: {k: t.clone() for k, t in s.items()} for name, s in optimizer.state().items()}

    report = train_step(model, optimizer, [random_pack(0), random_pack(1)], clip=1.0)
    everything = ("random/0", "random/1", "random/2", "random/3")
    assert report.suspects == (everything if gradient_only else everything[2:])
    assert report.skipped
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    for name, tensors in optimizer.state().items():
        assert all(torch.equal(tensors[key], state[name][key]) for key in tensors)

    assert not train_step(model, optimizer, [random_pack(5)], clip=1.0).skipped


def test_training_goes_on_after_a_bad_step_and_stops_after_too_many(tmp_path, capsys):
    report = train(Poison({"random/9", "random/17"}), RandomPacks(), CONFIG, tmp_path / "two")
    assert (report.status, report.skipped) == ("finished", 2)
    assert "step 3 was skipped" in capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record.get("skipped")] == [3, 5]
    assert records[2]["loss"] is None and "random/9" in records[2]["suspects"]

    with pytest.raises(NonFiniteError, match=r"3 steps in a row.*random/17"):
        train(Poison({"random/9", "random/13", "random/17"}), RandomPacks(), CONFIG, tmp_path / "three")
    saved = checkpoint.newest_valid(tmp_path / "three" / "checkpoints")
    assert saved is not None and saved.step == 4


def test_rows_lost_from_a_whole_pack_do_not_end_the_run(tmp_path):
    class Holes(RandomPacks):
        def __iter__(self):
            for number, batch in super().__iter__():
                yield (
                    number,
                    replace(batch, labels_T=torch.full_like(batch.labels_T, -100)) if number in (2, 3) else batch,
                )

    report = train(debug_model(), Holes(), CONFIG, tmp_path)
    assert (report.status, report.skipped) == ("finished", 1)


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A run folder with checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("run")
    train(debug_model(), RandomPacks(), CONFIG, folder)
    return folder


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0b100
    path.write_bytes(content)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, empty, zero, flip, remove])
@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "manifest.json"])
def test_a_damaged_file_falls_back_to_the_previous_checkpoint(two_checkpoints, tmp_path, caplog, name, damage):
    root = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints / "checkpoints", root)
    assert {path.name for path in (root / "step-00000006").iterdir()} == {"__0_0.distcp", ".metadata", "manifest.json"}
    damage(root / "step-00000006" / name)
    with caplog.at_level(logging.WARNING):
        found = checkpoint.newest_valid(root)
    assert found is not None and found.step == 4
    assert "step-00000006" in caplog.text and name in caplog.text
    assert sorted(path.name for path in root.iterdir()) == ["step-00000004", "step-00000006.broken"]
    model = debug_model(1)
    checkpoint.load(found, model, build_optimizer(model, CONFIG.optimizer))


def test_resume_over_a_damaged_checkpoint_equals_the_straight_run(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path / "run")
    flip(tmp_path / "run" / "checkpoints" / "step-00000006" / "__0_0.distcp")
    model, straight = debug_model(1), debug_model()
    assert train(model, RandomPacks(), CONFIG, tmp_path / "run", resume=True).step == 6
    train(straight, RandomPacks(), CONFIG, tmp_path / "straight")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), straight.parameters(), strict=True))
    logs = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("run", "straight")
    ]
    assert logs[0] == logs[1]


def saving_fails(root):
    model = debug_model()
    optimizer = build_optimizer(model, CONFIG.optimizer)
    with pytest.raises(MM15Error, match="could not save the checkpoint of step 8") as caught:
        checkpoint.save(root, 8, model, optimizer, {"pack": 16})
    found = checkpoint.newest_valid(root)
    assert found is not None and found.step == 6
    assert sorted(path.name for path in root.iterdir()) == ["step-00000004", "step-00000006"]
    return str(caught.value)


@pytest.mark.parametrize("limit", [0, 1, 5_000, 100_000])
def test_a_disk_that_fills_up_leaves_the_previous_checkpoint(two_checkpoints, tmp_path, limit):
    """A limit on file size makes the real write calls fail after so many bytes."""
    root = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints / "checkpoints", root)
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
    try:
        assert "File too large" in saving_fails(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_failing_flush_leaves_the_previous_checkpoint(two_checkpoints, tmp_path, monkeypatch, call):
    root, calls, real = tmp_path / "checkpoints", [], os.fsync
    shutil.copytree(two_checkpoints / "checkpoints", root)

    def full(handle):
        calls.append(handle)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in saving_fails(root)
