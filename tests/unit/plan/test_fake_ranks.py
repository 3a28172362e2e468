"""Dry runs: every full-size recipe takes one step on 64 simulated ranks."""

from __future__ import annotations

import warnings

import pytest
import torch.distributed as dist

from mm15.data.open import shipped_recipes
from mm15.model.sizes import SIZES
from mm15.plan.fake_ranks import Pack, dry_run
from mm15.plan.memory import parameters_of
from mm15.plan.planning import model_of
from mm15.train.parallel_config import ParallelConfig
from mm15.train.recipe import load_recipe
from mm15.train.run_config import OptimizerConfig, TrainConfig

FULL = sorted(
    name
    for name in shipped_recipes()
    if name.split("-", 1)[0] in ("pretrain", "continual", "sft") and "mini" not in name
)
PACK = Pack(tokens=96, tiles=3, targets=20, samples=2)


@pytest.mark.parametrize(("size", "experts"), [("debug", 1), ("mini-moe", 4)])
def test_a_small_model_takes_a_step_on_eight_ranks(size: str, experts: int):
    train = TrainConfig(steps=1, parallel=ParallelConfig(shard="full", experts=experts), optimizer=OptimizerConfig())
    walked = dry_run(SIZES[size], train, PACK, world=8)
    counts = parameters_of(SIZES[size])
    whole = 4 * (counts.dense + counts.experts)
    # Shards are padded where eight does not divide an axis, and an axis of one row lies on one rank.
    assert whole / 8 <= walked.parameters <= 1.3 * whole / 8
    assert walked.gradients == walked.parameters
    assert 2 * walked.parameters <= walked.optimizer <= 2.1 * walked.parameters + 4096
    assert walked.peak > walked.parameters + walked.gradients + walked.optimizer
    assert not dist.is_initialized()


def test_there_are_recipes_of_every_stage_and_size():
    assert len(FULL) == 21


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_a_full_size_recipe_takes_a_step_on_64_ranks(name: str):
    recipe = load_recipe(name)
    pack = Pack(recipe.train.pack_tokens, min(recipe.train.pack_tiles, 26), recipe.train.pack_tokens // 2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walked = dry_run(model_of(recipe, None), recipe.train, pack, world=64)
    counts = parameters_of(SIZES[recipe.size])
    whole = 4 * (counts.dense + counts.experts)
    assert whole / 64 * 0.99 <= walked.parameters <= whole / 64 * 1.2
    assert walked.peak / 2**30 < 127, f"{name}: {walked.text}"
