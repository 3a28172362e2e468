"""The seconds of a step by part: every part has some, nothing of a step changes, hooks come off."""

from __future__ import annotations

import pytest

from mm15.base.batch import IGNORE
from mm15.train.optim import build_optimizer
from mm15.train.parts import PARTS, StepClock
from mm15.train.rehearsal import rehearse_small, small_pack
from mm15.train.run_config import OptimizerConfig, TrainConfig
from mm15.train.step import train_step
from training_fixture import debug_model, random_pack

CONFIG = TrainConfig(steps=1, pack_tokens=160, pack_tiles=12)


def test_every_part_takes_time_and_the_step_stays_the_same():
    reports = []
    for measures in (False, True):
        model = debug_model()
        clock = StepClock(model) if measures else None
        optimizer = build_optimizer(model, OptimizerConfig(lr=1e-3))
        reports.append([train_step(model, optimizer, [random_pack(seed)], 1.0, clock=clock) for seed in range(3)])
    without, measured = reports
    assert [(r.loss, r.grad_norm) for r in without] == [(r.loss, r.grad_norm) for r in measured]
    assert [r.parts for r in without] == [{}] * 3
    for report in measured:
        assert tuple(report.parts) == PARTS
        assert all(seconds > 0 for seconds in report.parts.values())


def test_without_gradients_of_the_encoder_nothing_goes_back_to_it():
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-3))
    for part in (model.vision, model.connector):
        part.requires_grad_(False)
    parts = train_step(model, optimizer, [random_pack(0)], 1.0, clock=StepClock(model)).parts
    assert parts["vision_back"] == 0 and parts["decoder_back"] > 0 and parts["head_back"] > 0


def test_closed_it_leaves_no_hook():
    model = debug_model()
    clock = StepClock(model)
    clock.close()
    clock.start()
    model(random_pack(0))
    assert set(clock.seconds.values()) == {0.0}


def test_a_small_pack_is_measured_and_leaves_nothing():
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = rehearse_small(model, optimizer, StepClock(model), CONFIG, ("scenes",))
    assert parts["vision"] > 0 and parts["decoder_back"] > 0 and parts["optimizer"] == 0
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("tiles", [12, 2])
def test_a_small_pack_is_a_quarter(tiles: int):
    model = debug_model()
    pack = small_pack(model.config, CONFIG.model_copy(update={"pack_tiles": tiles}), ("scenes",))
    assert pack.borders == (0, 12, 24, 30, 36)
    assert len(pack.tiles_NCHW) == sum(pack.tile_counts) == tiles // 4
    words = pack.tokens_T.numel() - tiles // 4 * model.config.connector.tokens
    assert int((pack.labels_T != IGNORE).sum()) == words
