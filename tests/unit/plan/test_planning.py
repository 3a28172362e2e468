"""Plans: counted like the loader delivers, and what they say where something does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm15.base.errors import ConfigError
from mm15.data.loader import Loader
from mm15.data.planner import build_planner, pack_cost
from mm15.data.source import open_sources
from mm15.model.sizes import SIZES
from mm15.plan.hardware import cluster_of
from mm15.plan.planning import model_of, plan_of, plan_run
from mm15.plan.telling import short, text_of
from mm15.plan.workload import MOST_DRAWS, budget_of, workload_as_stated, workload_of_data
from mm15.processor import Processor, ProcessorConfig
from mm15.text.tokenizer import Tokenizer
from mm15.train.recipe import load_recipe
from stage_fixture import small_recipe


@pytest.mark.parametrize("stage", ["pretrain", "sft"])
def test_tokens_and_tiles_are_those_that_the_loader_delivers(stage: str, small_data: Path):
    recipe = small_recipe(stage)
    config = model_of(recipe, small_data)
    workload = workload_of_data(recipe, config, small_data)
    assert workload.exact
    processor = Processor(
        ProcessorConfig(split=recipe.split, tokens_per_tile=config.connector.tokens, max_tokens=recipe.max_tokens),
        Tokenizer.from_file(small_data / recipe.tokenizer),
    )
    sources, packs = open_sources(recipe.sources, small_data), recipe.train.accumulation
    planner = build_planner(
        sources,
        processor,
        recipe.mixture,
        budget_of(recipe),
        recipe.seed,
        recipe.window,
        step_packs=packs,
        cost=pack_cost(config),
    )
    count = recipe.train.steps * packs
    with Loader(planner, sources, processor) as loader:
        batches = [batch for _, (_, batch) in zip(range(count), loader, strict=False)]
    assert workload.tokens_P.tolist() == [batch.tokens_T.numel() for batch in batches]
    assert workload.tiles_P.tolist() == [len(batch.tiles_NCHW) for batch in batches]
    assert workload.samples_P.tolist() == [batch.num_samples for batch in batches]
    lengths = [np.diff(batch.borders) for batch in batches]
    assert workload.pairs_P.tolist() == [int((length * (length + 1) // 2).sum()) for length in lengths]
    targets = sum(batch.num_targets for batch in batches)
    assert workload.targets_P.sum() == pytest.approx(targets, rel=0.15)


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOST_DRAWS, "stated", 1024)


@pytest.mark.usefixtures("few_draws")
def test_a_recipe_that_does_not_fit_is_told_what_makes_it_fit():
    recipe = load_recipe("sft-30b", ("train.parallel.checkpointing=none", "window=512"))
    workload = workload_as_stated(recipe, model_of(recipe, None))
    plan = plan_of(recipe, model_of(recipe, None), workload, cluster_of("64xA100"))
    assert not plan.fits
    assert "checkpointing=" in plan.fix
    assert f"WARNING    it will not fit. this fits: {plan.fix}" in text_of(plan)


@pytest.mark.usefixtures("few_draws")
def test_shares_are_the_recipes_and_rows_those_of_the_registry():
    plan = plan_run("pretrain-1b", "64xH200", price=2.0, changes=("window=1024", "train.accumulation=64"))
    shares: dict[str, float] = {}
    for row in plan.shares:
        shares[str(row.category)] = shares.get(str(row.category), 0) + row.share
    assert shares == pytest.approx({"caption": 0.5, "interleaved": 0.1, "text": 0.4})
    assert next(row.size for row in plan.shares if row.source == "cc12m") == 12_400_000
    assert plan.cost == pytest.approx(plan.device_hours * 2)
    assert plan.hours == pytest.approx(plan.step_seconds * 200_000 / 3600)
    assert plan.work["vision"] > 0 and plan.fits


@pytest.mark.usefixtures("few_draws")
def test_ranks_must_divide_the_packs_of_a_step():
    with pytest.raises(ConfigError, match="no multiple of the 7 ranks"):
        plan_run("sft-mini", "7xH100", changes=("window=256",))


def test_numbers_are_told_short():
    assert [short(value) for value in (419_430_400_000, 12.3, 0)] == ["419G", "12.3", "0"]
    assert SIZES["3b"].connector.tokens == 144
