from dataclasses import replace

import pytest
import torch
from torch import nn

from mm15.base.batch import IGNORE
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from training_fixture import debug_model, random_pack


def total_norm(model: nn.Module) -> float:
    return float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())


def test_report_counts_all_micro_batches_and_averages_per_target():
    model = debug_model()
    batches = [random_pack(0), random_pack(1, samples=3)]
    report = train_step(model, build_optimizer(model, OptimizerConfig(lr=1e-9)), batches, clip=1.0)
    fresh = debug_model()
    sums = [nn.functional.cross_entropy(out.logits_LV, out.targets_L, reduction="sum") for out in map(fresh, batches)]
    targets = sum(batch.num_targets for batch in batches)
    (torch.stack(sums).sum() / targets).backward()
    assert report.loss == pytest.approx(float(sum(sums).detach()) / targets, rel=1e-6)
    assert report.grad_norm == pytest.approx(total_norm(fresh), rel=1e-5)
    assert report.targets == targets
    assert report.tokens == sum(batch.tokens_T.numel() for batch in batches)
    assert report.tiles == sum(len(batch.tiles_NCHW) for batch in batches)
    assert report.samples == 5
    assert set(report.categories) == {name for batch in batches for name in batch.categories}
    assert (report.skipped, report.suspects) == ("", ())


def test_gradients_are_clipped_before_the_move(monkeypatch):
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    seen = []
    monkeypatch.setattr(optimizer, "step", lambda: seen.append(total_norm(model)))
    report = train_step(model, optimizer, [random_pack(0)], clip=1e-3)
    assert report.grad_norm > 0.01
    assert seen == [pytest.approx(1e-3, rel=1e-2)]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_without_targets_changes_nothing_and_says_so():
    silent = random_pack(0)
    silent = replace(silent, labels_T=torch.full_like(silent.labels_T, IGNORE), categories=("", ""))
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1))
    report = train_step(model, optimizer, [silent], clip=1.0)
    assert report.skipped == "no token of it is trained on"
    assert report.suspects == ("random/0", "random/1")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), debug_model().parameters(), strict=True))
    beside = train_step(model, optimizer, [silent, random_pack(1)], clip=1.0)
    assert not beside.skipped and beside.targets == random_pack(1).num_targets


def test_frozen_parts_stay_and_the_rest_learns():
    model = debug_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-2, lr_scale={"vision": 0}))
    train_step(model, optimizer, [random_pack(1, samples=4)], clip=1.0)
    changed = {
        name.split(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"connector", "decoder"}
