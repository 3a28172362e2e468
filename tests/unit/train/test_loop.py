import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mm15.base.errors import ConfigError, DataError, PlanMismatch
from mm15.train import checkpoint
from mm15.train.loop import StopSignal, compute_dtype, train
from mm15.train.run_config import OptimizerConfig, ScheduleConfig, TrainConfig
from training_fixture import RandomPacks, debug_model


def settings(**changes: Any) -> TrainConfig:
    plain = {"steps": 6, "precision": "fp32", "save_every": 3, "log_every": 2, "optimizer": OptimizerConfig(lr=3e-3)}
    return TrainConfig(**plain | changes)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Note:
    """A hook that remembers when it was called and leaves the model in eval mode."""

    def __init__(self, every: int) -> None:
        self.every, self.steps = every, []

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any]:
        assert model.training
        model.eval()
        self.steps.append(step)
        return {"score": step * 10}


def test_a_run_logs_every_step_calls_hooks_and_keeps_two_checkpoints(tmp_path):
    shown, hook = [], Note(every=4)
    config = settings(steps=7, accumulation=2, save_every=2, schedule=ScheduleConfig(warmup=2))
    report = train(debug_model(), RandomPacks(), config, tmp_path, hooks=[hook], on_log=shown.append)
    assert (report.status, report.step, report.steps, report.skipped) == ("finished", 7, 7, 0)
    assert report.samples == 7 * 2 * 2
    steps = [record for record in records(tmp_path) if "loss" in record]
    assert [record["step"] for record in steps] == list(range(1, 8))
    assert steps[0]["rate_factor"] == 0.5
    assert steps[-1]["loss"] == report.loss
    assert [record["step"] for record in shown] == [2, 4, 6, 7]
    assert hook.steps == [4, 7]
    assert [record for record in records(tmp_path) if "score" in record] == [
        {"step": 4, "score": 40},
        {"step": 7, "score": 70},
    ]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000006", "step-00000007"]
    saved = checkpoint.newest_valid(tmp_path / "checkpoints")
    assert saved is not None and saved.loader == {"pack": 14, "plan_hash": "random"}


def test_training_learns_what_repeats(tmp_path):
    class OnePack(RandomPacks):
        def __iter__(self):
            _, batch = next(super().__iter__())
            while True:
                self.position += 1
                yield 0, batch

    report = train(
        debug_model(), OnePack(), settings(steps=40, save_every=100, schedule=ScheduleConfig(warmup=0)), tmp_path
    )
    assert records(tmp_path)[0]["loss"] > 4
    assert report.loss < 2


def test_a_used_folder_is_not_overwritten(tmp_path):
    train(debug_model(), RandomPacks(), settings(steps=1), tmp_path)
    with pytest.raises(ConfigError, match="resume that run"):
        train(debug_model(), RandomPacks(), settings(steps=1), tmp_path)


def test_resume_without_a_checkpoint_starts_over_and_of_a_finished_run_does_nothing(tmp_path):
    report = train(debug_model(), RandomPacks(), settings(steps=2), tmp_path, resume=True)
    assert report.step == 2
    again = train(debug_model(1), RandomPacks(), settings(steps=2), tmp_path, resume=True)
    assert (again.status, again.step, again.samples) == ("finished", 2, 0)
    assert len(records(tmp_path)) == 2


def test_another_data_plan_is_refused(tmp_path):
    train(debug_model(), RandomPacks(), settings(steps=1), tmp_path)
    with pytest.raises(PlanMismatch, match=r"random.*other"):
        train(debug_model(), RandomPacks(plan="other"), settings(), tmp_path, resume=True)
    other = RandomPacks(plan="other")
    assert train(debug_model(), other, settings(), tmp_path, resume=True, accept_plan=True).step == 6
    assert other.position == 6


def test_a_loader_that_ends_is_an_error(tmp_path):
    class Three(RandomPacks):
        def __iter__(self):
            return (pair for pair, _ in zip(super().__iter__(), range(3), strict=False))

    with pytest.raises(DataError, match="after 1 steps and 1 of the next step's 2"):
        train(debug_model(), Three(), settings(accumulation=2), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(tmp_path, number):
    class Signalled(RandomPacks):
        def __iter__(self):
            for pair in super().__iter__():
                if pair[0] == 1:
                    os.kill(os.getpid(), number)
                yield pair

    before = signal.getsignal(number)
    report = train(debug_model(), Signalled(), settings(save_every=100), tmp_path)
    assert (report.status, report.step) == ("interrupted", 2)
    assert signal.getsignal(number) is before
    saved = checkpoint.newest_valid(tmp_path / "checkpoints")
    assert saved is not None and saved.step == 2
    assert train(debug_model(), RandomPacks(), settings(save_every=100), tmp_path, resume=True).step == 6


def test_the_second_signal_is_not_held_back():
    with StopSignal() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        os.kill(os.getpid(), signal.SIGINT)


def test_precision_follows_the_device(monkeypatch):
    cpu = torch.device("cpu")
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert compute_dtype(settings(precision="auto"), cpu) is expected
    assert compute_dtype(settings(precision="bf16"), cpu) is torch.bfloat16
    assert compute_dtype(settings(precision="fp32"), cpu) is torch.float32


def test_bf16_keeps_parameters_in_fp32(tmp_path):
    model = debug_model()
    report = train(model, RandomPacks(), settings(precision="bf16"), tmp_path)
    assert model.compute_dtype is torch.bfloat16
    assert all(parameter.dtype is torch.float32 for parameter in model.parameters())
    assert report.skipped == 0
