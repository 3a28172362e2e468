"""The plan: budgets kept and filled, every draw once, pure in (plan, pack number), and known by its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_fixture import small_processor, write_pictures, write_rows, write_texts
from mm15.base.errors import ConfigError, PlanMismatch, SkipBudgetExceeded
from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.data.mixture import Mixture, MixtureConfig, Pool
from mm15.data.planner import PackBudget, PackCost, Planner, build_planner, order_packs, pack_window
from mm15.data.source import open_sources

BUDGET = PackBudget(max_tokens=4096, max_tiles=32)


def sft_costs(rows: int, key: str) -> np.ndarray:
    """Pictures of five to ten tiles with 144 tokens each, and text around them."""
    rng = numpy_rng(0, key)
    tiles = rng.choice([0, 1, 5, 7, 10], rows, p=[0.1, 0.1, 0.6, 0.1, 0.1])
    return np.stack([tiles * 144 + rng.integers(10, 200, rows), tiles], axis=1).astype(np.int32)


def planner(
    seed: int = 0,
    window: int = 256,
    budget: PackBudget = BUDGET,
    shares: Any = None,
    step_packs: int = 1,
    cost: PackCost = PackCost(),
) -> Planner:
    costs = [sft_costs(100, "a"), sft_costs(900, "b")]
    pools = [Pool("a", Category.MATH, np.arange(100)), Pool("b", Category.OCR, np.arange(900))]
    config = MixtureConfig(shares=shares or {"math": 1, "ocr": 3})
    contents = ["content of a", "content of b"]
    mixed = Mixture(config, pools, seed)
    return Planner(mixed, costs, budget, window, contents, step_packs=step_packs, cost=cost)


def costs_of(plan: Planner, pack: list[tuple[int, int]]) -> np.ndarray:
    return np.array([plan._costs[source][row] for source, row in pack])


def test_every_draw_of_a_window_is_in_exactly_one_pack_and_budgets_hold():
    plan = planner()
    packs, window = [], 0
    while window < 3:
        window, _ = plan.anchor(len(packs))
        packs.append(plan.pack(len(packs)))
    packs.pop()
    drawn = [(int(s), int(r)) for s, r in zip(*plan.mixture.order(0, 3 * 256), strict=True)]
    assert sorted(address for pack in packs for address in pack) == sorted(drawn)
    for pack in packs:
        assert (costs_of(plan, pack).sum(0) <= [4096, 32]).all()


@pytest.mark.parametrize(
    ("tokens", "tiles", "budget"),
    [
        ("pictures", [0.1, 0.1, 0.8], (4096, 32)),
        ("mixed", [0.4, 0.5, 0.1], (4096, 8)),
        ("mixed", [0.4, 0.5, 0.1], (4096, 16)),
        ("text", [1, 0, 0], (4096, 16)),
    ],
)
def test_the_binding_budget_is_filled(tokens: str, tiles: list[float], budget: tuple[int, int]):
    rng = numpy_rng(0, tokens, *budget)
    count = rng.choice([0, 1, 5], 2048, p=tiles)
    text = np.where(count > 0, rng.integers(5, 60, 2048), np.exp(rng.normal(6, 0.8, 2048)).astype(int) + 9)
    load = np.stack([np.minimum(count * 144 + text, 4096), count], axis=1) / budget
    packs = pack_window(load)
    assert sorted(item for pack in packs for item in pack) == list(range(2048))
    assert all((load[pack].sum(0) <= 1 + 1e-6).all() for pack in packs)
    assert load.sum(0).max() / len(packs) >= 0.95


def test_items_that_fill_a_pack_exactly_fit():
    assert pack_window(np.array([[0.5, 0.1], [0.5, 0.9], [1.0, 1.0]])) == [[2], [0, 1]]
    thirds = pack_window(np.full((6, 2), 1 / 3))
    assert sorted(map(len, thirds)) == [3, 3]


def test_the_plan_is_a_function_of_the_pack_number():
    straight, jumping = planner(), planner()
    packs = [straight.pack(k) for k in range(90)]
    for k in (80, 3, 89, 0, 41):
        assert jumping.pack(k) == packs[k]
    assert [planner(seed=1).pack(k) for k in range(5)] != packs[:5]


def test_restoring_packs_one_window_only(monkeypatch):
    plan = planner()
    wanted = [plan.pack(k) for k in range(200, 230)]
    state = plan.state(200)
    fresh, packed = planner(), []
    order = Mixture.order
    monkeypatch.setattr(
        Mixture, "order", lambda self, start, count: packed.append(start // count) or order(self, start, count)
    )
    assert fresh.restore(state) == 200
    assert fresh.pack(200) == wanted[0] and packed == [state["anchor"][0]]
    assert [fresh.pack(k) for k in range(200, 230)] == wanted


def test_any_world_takes_every_pack_once():
    for world in (1, 2, 3, 5):
        steps = [[k + rank for rank in range(world)] for k in range(0, 30, world)]
        assert [k for step in steps for k in step] == list(range(30))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed: was 0, is 1"),
        ({"window": 128}, "window: was 256 draws, is 128 draws"),
        ({"budget": PackBudget(max_tokens=4096, max_tiles=31)}, "budget: was 4096 tokens, 32 tiles"),
        ({"shares": {"math": 2, "ocr": 3}}, "mixture: was"),
        ({"step_packs": 4}, "step: was 1 packs, is 4 packs"),
        ({"cost": PackCost(per_tile=3)}, "cost: was 1 a token, 0 a squared length, 0 a tile, is 1 a token"),
    ],
)
def test_another_plan_has_another_hash_and_is_refused_with_the_difference(change: dict[str, Any], named: str):
    state = planner().state(7)
    assert planner().plan_hash == state["plan_hash"]
    other = planner(**change)
    assert other.plan_hash != state["plan_hash"]
    with pytest.raises(PlanMismatch) as error:
        other.restore(state)
    assert named in str(error.value) and str(error.value).count("\n  - ") == 1
    assert other.restore(state, accept_plan=True) == 7


def build(folder: Path, **more: Any) -> Planner:
    configs = [write_pictures(folder, "seen", 20), write_texts(folder, "words", 30)]
    settings = {"budget": PackBudget(max_tokens=500, max_tiles=40), "seed": 0, "window": 64} | more
    mixture = MixtureConfig(shares={"general": 1, "text_only": 1})
    return build_planner(open_sources(configs, folder), small_processor(), mixture, **settings)


def test_a_plan_from_files_knows_content_and_costs_but_not_the_place(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = build(tmp_path / "a"), build(tmp_path / "b")
    assert one.plan_hash == two.plan_hash and one.pack(5) == two.pack(5)
    tokens, tiles = one.fill
    assert 0.9 < max(tokens, tiles) <= 1
    assert one.draws_per_pack == pytest.approx(64 / sum(one.anchor(k)[0] == 0 for k in range(64)))

    configs = [write_pictures(tmp_path / "a", "seen", 20), write_texts(tmp_path / "a", "words", 31)]
    mixture = MixtureConfig(shares={"general": 1, "text_only": 1})
    longer = build_planner(open_sources(configs, tmp_path / "a"), small_processor(), mixture, one.budget, 0, 64)
    with pytest.raises(PlanMismatch, match="source words: was 30 rows"):
        longer.restore(one.state(0))


def test_rows_that_fit_no_pack_are_left_out_and_named(tmp_path: Path):
    config = write_texts(tmp_path, "words", 200)
    with (tmp_path / "words.jsonl").open("a") as file:
        file.write('{"text": "' + "z" * 300 + '"}\n')
    plan = build_planner(
        open_sources([config], tmp_path),
        small_processor(),
        MixtureConfig(shares={"text_only": 1}),
        PackBudget(max_tokens=290, max_tiles=5),
        seed=0,
        window=256,
    )
    assert [skip.row for skip in plan.skips] == [200] and plan.skips[0].address.endswith("words.jsonl:201")
    assert "0 tiles fit no pack of 290 tokens and 5 tiles; allow larger packs" in plan.skips[0].reason
    assert {row for k in range(plan.anchor(200)[1]) for _, row in plan.pack(k)} == set(range(200))


def test_too_many_bad_rows_stop_the_plan_and_name_every_source(tmp_path: Path):
    configs = []
    for name in ("one", "two"):
        configs.append(write_texts(tmp_path, name, 30))
        with (tmp_path / f"{name}.jsonl").open("a") as file:
            file.write('{"text": ""}\n')
    sources = open_sources(configs, tmp_path)
    arguments = (small_processor(), MixtureConfig(shares={"text_only": 1}), PackBudget(max_tokens=500, max_tiles=5), 0)
    with pytest.raises(SkipBudgetExceeded) as error:
        build_planner(sources, *arguments)
    for name in ("one", "two"):
        assert f"source '{name}': 1 of 31 rows cannot be used (3.2%, max_skip_rate is 1.0%)" in str(error.value)
        assert f"{name}.jsonl:31: 'text' must hold some text" in str(error.value)
    lenient = [config.model_copy(update={"max_skip_rate": 0.05}) for config in configs]
    assert len(build_planner(open_sources(lenient, tmp_path), *arguments).skips) == 2


def test_a_source_without_usable_rows_is_an_empty_category(tmp_path: Path):
    config = write_texts(tmp_path, "words", 1).model_copy(update={"max_skip_rate": 1.0})
    write_rows(tmp_path / "words.jsonl", [{"text": ""}])
    with pytest.raises(ConfigError, match="no usable rows"):
        build_planner(
            open_sources([config], tmp_path),
            small_processor(),
            MixtureConfig(shares={"text_only": 1}),
            PackBudget(max_tokens=500, max_tiles=5),
            seed=0,
        )


def steps_of(plan: Planner, count: int) -> np.ndarray:
    """Costs of the packs of the first steps, [count, step_packs]."""
    numbers = range(count * plan.step_packs)
    costs = [plan.cost.of(costs_of(plan, plan.pack(number))).sum() for number in numbers]
    return np.array(costs).reshape(count, plan.step_packs)


@pytest.mark.parametrize("step_packs", [4, 8, 24])
def test_the_packs_of_a_step_and_of_a_micro_batch_cost_about_the_same(step_packs: int):
    flops = PackCost(per_token=6, per_square=2e-4, per_tile=1e4)
    alike = steps_of(planner(step_packs=step_packs, cost=flops, window=1024), 60)
    among_all = alike.max() / alike.mean()
    assert (alike.max(1) / alike.mean(1)).mean() < 1 + 0.35 * (among_all - 1)
    for world in (2, 4):
        micro = alike.reshape(60, -1, world)
        assert (micro.max(2) / micro.mean(2)).mean() < 1 + 0.2 * (among_all - 1)
    # Steps come in no order of their cost.
    assert abs(np.corrcoef(alike.mean(1)[:-1], alike.mean(1)[1:])[0, 1]) < 0.35


def test_steps_cross_windows_and_every_draw_still_comes_once():
    plan = planner(step_packs=7, cost=PackCost(per_tile=5))
    packs = [plan.pack(number) for number in range(plan.anchor(400)[1])]
    drawn = plan.mixture.order(0, plan.anchor(400)[0] * plan.window)
    assert any(plan.anchor(number)[1] % 7 for number in range(400))
    assert sorted(address for pack in packs for address in pack) == sorted(
        (int(s), int(r)) for s, r in zip(*drawn, strict=True)
    )
    fresh = planner(step_packs=7, cost=PackCost(per_tile=5))
    assert fresh.restore(plan.state(333)) == 333 and fresh.pack(333) == packs[333]


@pytest.mark.parametrize(("count", "first", "step"), [(30, 0, 4), (30, 3, 4), (30, 5, 1), (3, 6, 16), (5, 1, 2), (9, 0, 9)])
def test_an_order_is_a_permutation_whose_whole_steps_are_neighbours_in_cost(count: int, first: int, step: int):
    cost = numpy_rng(0, count, first).random(count)
    order = order_packs(cost, first, step, numpy_rng(1, "order"))
    assert sorted(order) == list(range(count))
    head = min(-first % step, count)
    cut = head + (count - head) % step
    ranks = np.sort(cost).searchsorted(cost[order])
    middle = np.concatenate([ranks[:head], ranks[count - (cut - head) :]])
    start = (count - cut) // 2
    assert sorted(middle) == list(range(start, start + cut))
    rest = np.where(ranks < start, ranks, ranks - cut)[head : count - (cut - head)].reshape(-1, step)
    assert (np.sort(rest, axis=1) == rest.min(1, keepdims=True) + np.arange(step)).all()
    assert all(abs(np.diff(row)).max(initial=1) == 1 for row in rest)


def test_what_a_pack_costs():
    cost = PackCost(per_token=2, per_square=0.5, per_tile=100)
    assert cost.of(np.array([[10, 1], [4, 0]])).tolist() == [20 + 50 + 100, 8 + 8]
    assert PackCost().of(np.array([[7, 3]])).tolist() == [7]
