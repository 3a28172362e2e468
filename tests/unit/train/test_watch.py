"""Watching a run changes nothing of it: rehearsal, profiler, trackers, report; and what each of them leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mm15.base.errors import ConfigError, MissingExtra, MM15Error
from mm15.cli_watch import changes_of
from mm15.train import rehearsal, watch
from mm15.train.loop import train
from mm15.train.machine import data_sheet, memory, peak_of
from mm15.train.optim import build_optimizer
from mm15.train.rehearsal import largest_pack, rehearse
from mm15.train.run_config import OptimizerConfig, TrainConfig
from mm15.train.trackers import open_trackers, scalars
from training_fixture import CONFIG, RandomPacks, debug_model


def settings(**changes: Any) -> TrainConfig:
    plain = {"steps": 6, "precision": "fp32", "save_every": 2, "log_every": 2, "optimizer": OptimizerConfig(lr=3e-3),
             "pack_tokens": 200, "pack_tiles": 5}  # fmt: skip
    return TrainConfig(**plain | changes)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[float, float]]:
    return [(line["loss"], line["grad_norm"]) for line in lines(folder)]


def test_a_step_is_told_with_its_work_sources_memory_and_rate(tmp_path, capsys):
    train(debug_model(), RandomPacks(), settings(), tmp_path, sources=["random", "other"])
    told = lines(tmp_path)
    note = json.loads((tmp_path / "watch.json").read_text())
    assert note["state"] == "finished" and "matmul measured on this CPU" in note["basis"]
    for line in told:
        assert line["sources"] == {"random": pytest.approx(line["loss"])}
        assert line["mfu"] == pytest.approx(line["flops"] / line["seconds"] / note["peak"])
        assert line["memory"]["rss"] > 2**20 and line["rate"] == pytest.approx(3e-3 * line["rate_factor"])
    # A save comes after the line of its step: the next one tells how long it held the run up.
    assert [line["step"] for line in told if "save_stall" in line] == [3, 5]
    err = capsys.readouterr().err
    assert "MFU counts against" in err and "· MFU " in err and "tokens/s" in err
    assert "finished" in (tmp_path / "report.html").read_text()


def test_watching_changes_no_number_of_a_run(tmp_path):
    torch.manual_seed(5)
    train(debug_model(), RandomPacks(), settings(), tmp_path / "plain")
    state = torch.random.get_rng_state()
    torch.manual_seed(5)
    watched = settings(rehearse=True, profile="2:2", report_seconds=1e-6)
    train(debug_model(), RandomPacks(), watched, tmp_path / "watched", sources=["random"])
    assert losses(tmp_path / "plain") == losses(tmp_path / "watched")
    assert torch.equal(state, torch.random.get_rng_state())
    trace = json.loads((tmp_path / "watched" / "profile" / "steps-2-3.trace.json").read_text())
    assert any("aten::mm" in str(event.get("name")) for event in trace["traceEvents"])
    table = (tmp_path / "watched" / "profile" / "steps-2-3.txt").read_text()
    assert "Self CPU" in table and "aten::" in table


def test_a_page_that_fails_ends_no_run_and_is_told_once(tmp_path, monkeypatch, capsys):
    def fail(*args: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(watch, "write_report", fail)
    report = train(debug_model(), RandomPacks(), settings(report_seconds=1e-6), tmp_path)
    assert report.status == "finished"
    assert capsys.readouterr().err.count("report.html was not written: OSError: No space left on device") == 1


@pytest.mark.parametrize("longest", [None, 90])
def test_the_largest_pack_is_full_and_true_to_shape(longest: int | None):
    batch = largest_pack(debug_model(), settings(), longest)
    batch.check()
    assert batch.tokens_T.numel() == 200 and len(batch.tiles_NCHW) == 5
    assert batch.num_samples == (1 if longest is None else 3)
    assert batch.num_targets == 200 - 5 * CONFIG.connector.tokens
    narrow = settings(pack_tokens=CONFIG.connector.tokens * 2 + 1)
    few = largest_pack(debug_model(), narrow, longest)
    few.check()
    assert len(few.tiles_NCHW) == 2


def test_a_rehearsal_leaves_no_gradient_and_tells_what_the_optimizer_adds():
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-3))
    told = rehearse(model, optimizer, settings())
    assert all(parameter.grad is None for parameter in model.parameters()) and not optimizer.state()
    assert told.later == 8 * sum(parameter.numel() for parameter in model.parameters())
    assert "200 tokens, 5 tiles" in told.told()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
              RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), MemoryError("x")]
)  # fmt: skip
def test_too_little_memory_is_told_with_the_pack_and_what_helps(error: BaseException, tmp_path, monkeypatch):
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(rehearsal, "loss_sums", fail)
    with pytest.raises(MM15Error, match=r"200 tokens, 5 tiles.*GiB are there.*pack_tokens.*checkpointing.*shard=full"):
        train(debug_model(), RandomPacks(), settings(rehearse=True), tmp_path)
    assert json.loads((tmp_path / "watch.json").read_text())["state"] == "failed"
    assert not list(tmp_path.glob("checkpoints/step-*"))


def test_another_error_of_a_rehearsal_stays_what_it_is(monkeypatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("shapes differ")

    model = debug_model()
    monkeypatch.setattr(rehearsal, "loss_sums", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        rehearse(model, build_optimizer(model, OptimizerConfig()), settings())


def test_peaks_are_the_data_sheets_or_measured():
    assert data_sheet("NVIDIA H200") == data_sheet("NVIDIA H100 80GB HBM3") == 989e12
    assert data_sheet("NVIDIA H100 PCIe") == 756e12 and data_sheet("NVIDIA A100-SXM4-80GB") == 312e12
    assert data_sheet("NVIDIA H20") == 148e12 and data_sheet("NVIDIA L40S") == 362e12 and data_sheet("Voodoo 2") == 0
    peak = peak_of(torch.device("cpu"), torch.float32)
    assert peak.flops > 1e8 and "fp32 matmul measured on this CPU" in peak.basis
    assert memory(torch.device("cpu"))["rss"] > 0


class FakeRun:
    def __init__(self, **how: Any) -> None:
        self.how, self.logged, self.closed = how, [], False

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.logged.append((step, {name: value}))

    def finish(self) -> None:
        self.closed = True

    close = finish


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_is_told_every_number_of_every_step(name: str, tmp_path, monkeypatch):
    made: list[FakeRun] = []

    def start(*args: Any, **how: Any) -> FakeRun:
        made.append(FakeRun(**how))
        return made[-1]

    fake = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, fake)
    if name == "tensorboard":
        inner = ModuleType("tensorboard.summary")
        inner.Writer = start  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tensorboard.summary", inner)
    else:
        fake.init = start  # type: ignore[attr-defined]
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train(debug_model(), RandomPacks(), settings(trackers=[name]), tmp_path, sources=["random"])
    (run,) = made
    seen: dict[int, dict[str, float]] = {}
    for step, values in run.logged:
        seen.setdefault(step, {}).update(values)
    assert run.closed and sorted(seen) == [1, 2, 3, 4, 5, 6]
    assert seen[4]["loss"] == lines(tmp_path)[3]["loss"]
    assert {"sources/random", "memory/rss", "mfu", "tokens"} <= set(seen[4])
    if name == "wandb":
        assert run.how["mode"] == "offline" and run.how["resume"] == "allow"


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_says_how_to_get_it(name: str, tmp_path, monkeypatch):
    for module in (name, f"{name}.summary"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'mm15\[{name}\]'"):
        open_trackers([name], tmp_path, "run", {})


def test_scalars_leave_out_what_is_no_number():
    record = {"step": 3, "loss": 1.5, "categories": {"ocr": 2}, "skipped": "nan", "suspects": ["a"], "flag": True}
    assert scalars(record) == {"loss": 1.5, "categories/ocr": 2.0}


def test_wrong_settings_are_refused_with_what_is_known():
    with pytest.raises(ValueError, match=r"'tensorbord' \(did you mean 'tensorboard'\?\).*wandb"):
        settings(trackers=["tensorbord"])
    for window in ("3", "0:2", "3:0", "a:b"):
        with pytest.raises(ValueError, match="START:STEPS"):
            settings(profile=window)


def test_flags_of_train_become_changes_of_the_recipe():
    assert changes_of(["wandb"], "3:2", None) == ['train.trackers=["wandb"]', 'train.profile="3:2"']
    assert changes_of(None, "", ["mini@every=200,limit=5"]) == ['evaluate={"every": 200, "limit": 5, "suite": "mini"}']
    several = changes_of(None, "", ["mini-math@every=9,data=suite", "mini-words"])
    assert several == ['evaluate={"every": 9, "data": "suite", "benchmarks": ["mini-math", "mini-words"]}']
    for wrong, about in (
        (["mini"], "say how often"),
        (["mini@each=3"], "expected NAME@every=N"),
        (["mini@every=soon"], "expected NAME@every=N"),
        (["mini-math@every=3", "mini-words@every=4"], "answered together"),
        (["mini@every=3", "mini-words"], "one suite, or benchmarks"),
        (["mimi@every=3"], "did you mean"),
    ):
        with pytest.raises(ConfigError, match=about):
            changes_of(None, "", wrong)
