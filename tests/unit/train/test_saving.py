"""Saving beside the training: what is saved is what was there, a failure is named, and two in a row stop the run."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path

import pytest
import torch

from mm15.base.errors import MM15Error
from mm15.train import checkpoint
from mm15.train._lines import Lines
from mm15.train.loop import train
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig, TrainConfig
from mm15.train.saving import Saver
from mm15.train.step import train_step
from training_fixture import RandomPacks, debug_model, random_pack

OPTIMIZER = OptimizerConfig(kind="muon", lr=1e-2)


def test_a_save_holds_the_moment_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = debug_model()
    optimizer = build_optimizer(model, OPTIMIZER)
    train_step(model, optimizer, [random_pack(0)], clip=1.0)
    then = {name: tensor.clone() for name, tensor in checkpoint.tensors_of(model, optimizer).items()}
    go, real = threading.Event(), checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda *arguments: (go.wait(), real(*arguments)))
    with Saver(tmp_path, 2) as saver:
        saver.start(1, model, optimizer, {"pack": 1})
        train_step(model, optimizer, [random_pack(1)], clip=1.0)
        assert checkpoint.newest_valid(tmp_path) is None and saver.stall > 0
        go.set()
    found = checkpoint.newest_valid(tmp_path)
    assert found is not None and (found.step, found.loader) == (1, {"pack": 1})
    other = debug_model(1)
    fresh = build_optimizer(other, OPTIMIZER)
    checkpoint.load(found, other, fresh)
    now = checkpoint.tensors_of(other, fresh)
    assert now.keys() == then.keys() and all(torch.equal(now[name], then[name]) for name in now)
    assert not torch.equal(now["model/decoder.embedding.weight"], model.decoder.embedding.weight)


@pytest.mark.parametrize(("failing", "ends"), [((4,), 10), ((4, 6), 6), ((10,), 10), ((10, 10), 10)])
def test_one_failed_save_is_survived_two_are_not(tmp_path: Path, monkeypatch, caplog, failing, ends):
    left, real = list(failing), checkpoint.write

    def write(root, step, *arguments):
        if left and left[0] == step:
            left.pop(0)
            raise MM15Error(f"could not save the checkpoint of step {step}: No space left on device")
        return real(root, step, *arguments)

    monkeypatch.setattr(checkpoint, "write", write)
    config = TrainConfig(steps=10, save_every=2, precision="fp32", optimizer=OPTIMIZER)
    with caplog.at_level(logging.WARNING):
        if len(failing) == 1:
            assert train(debug_model(), RandomPacks(), config, tmp_path).step == ends
        else:
            with pytest.raises(MM15Error, match=f"could not save the checkpoint of step {ends}"):
                train(debug_model(), RandomPacks(), config, tmp_path)
    assert caplog.text.count("No space left on device") == len(failing)
    found = checkpoint.newest_valid(tmp_path / "checkpoints")
    assert found is not None and found.step == (ends if len(failing) == 1 else failing[0] - 2)


def test_the_log_tells_what_a_save_cost_the_next_step(tmp_path: Path):
    config = TrainConfig(steps=6, save_every=2, precision="fp32", optimizer=OPTIMIZER)
    report = train(debug_model(), RandomPacks(), config, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "save_stall" in record] == [3, 5]
    assert report.save_stall > sum(record.get("save_stall", 0) for record in records) > 0


def test_lines_that_meet_a_full_disk_wait_and_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines, real = Lines(tmp_path / "log"), os.write
    assert lines.write("one\n")

    def full(handle: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[:2])

    monkeypatch.setattr(os, "write", full)
    assert not lines.write("second\n")
    with pytest.raises(OSError, match=r"No space left on device: .*log"):
        lines.sync()
    monkeypatch.setattr(os, "write", real)
    assert lines.write("third\n")
    lines.sync()
    lines.close()
    assert (tmp_path / "log").read_text() == "one\nsecond\nthird\n"
