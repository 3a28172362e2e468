"""Packs of MM1.5's All mixture at 672 px with dynamic splitting: how full, how alike over ranks, how quickly planned.

    python benchmarks/packing.py [--seeds 3] [--size 3b] [--step-packs 64] [--draws 10000000]

No picture is read: lengths and tiles are drawn as ``all_mixture.py`` states. A pack holds 4096 tokens and 32 tiles, a
step 64 packs (about 256 samples, the paper's batch). What a rank does in a micro-batch is its pack's FLOPs (``stage
.pack_cost``); the slowest of the ranks is what the others wait for, so a step's imbalance is the mean over its
micro-batches of (largest / mean), and what is told is the mean over steps. Beside the plan stand

- "not ordered": the same packs, in a random order;
- "tokens alone": the same packs ordered as if a pack's cost were its tokens;
- "arrival": packs closed when the next sample in the stream does not fit, which is packing on the fly.

The drift tells what ordering by cost does to the batch: the spread over steps of the share of text-only samples, over
the spread that as many samples drawn independently have. Planning is timed against what one H100-class rank consumes at
55 % of 989 TFLOP/s; restoring is a fresh planner with the costs in memory, ``restore`` and the first pack.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import all_mixture
import numpy as np

from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.data.planner import PackBudget, PackCost, Planner
from mm15.model.sizes import SIZES, ModelConfig
from mm15.stage import pack_cost

BUDGET = PackBudget(max_tokens=4096, max_tiles=32)
RANKS = (2, 4, 8, 64)
STEPS = 100
WINDOW = 2048
FLOPS_PER_SECOND = 0.55 * 989e12

Packs = Sequence[np.ndarray]
"""Tokens and tiles of the samples of each pack."""


def at_672(size: str) -> ModelConfig:
    raw = SIZES[size].model_dump()
    raw["vision"]["image_size"] = 672
    return ModelConfig.model_validate(raw)


def imbalance(packs: Packs, cost: PackCost, ranks: int, step_packs: int) -> float:
    """Largest over mean cost of the packs that run side by side, averaged over micro-batches."""
    cost_P = np.array([cost.of(pack).sum() for pack in packs])
    cost_MW = cost_P[: len(cost_P) // step_packs * step_packs].reshape(-1, ranks)
    return float((cost_MW.max(1) / cost_MW.mean(1)).mean())


def fill(packs: Packs) -> float:
    """Share of the binding budget."""
    used = np.sum([pack.sum(0) for pack in packs], axis=0) / len(packs)
    return float((used / [BUDGET.max_tokens, BUDGET.max_tiles]).max())


def arrival(planner: Planner, costs: Sequence[np.ndarray], count: int) -> Packs:
    packs: list[np.ndarray] = []
    open_pack: list[np.ndarray] = []
    room, position = np.array([BUDGET.max_tokens, BUDGET.max_tiles]), 0
    left = room.copy()
    while len(packs) < count:
        for source, row in zip(*planner.mixture.order(position, WINDOW), strict=True):
            sample = costs[source][row]
            if (sample > left).any():
                packs.append(np.array(open_pack))
                open_pack, left = [], room.copy()
            open_pack.append(sample)
            left = left - sample
        position += WINDOW
    return packs[:count]


def drift(planner: Planner, step_packs: int) -> float:
    """Spread of the steps' share of text-only samples, over that of independent draws."""
    text = {n for n, pool in enumerate(planner.mixture.pools) if pool.category is Category.TEXT_ONLY}
    shares, sizes = [], []
    for step in range(STEPS):
        sources = [s for k in range(step * step_packs, (step + 1) * step_packs) for s, _ in planner.pack(k)]
        shares.append(sum(source in text for source in sources) / len(sources))
        sizes.append(len(sources))
    mean = statistics.mean(shares)
    return statistics.stdev(shares) / (mean * (1 - mean) / statistics.mean(sizes)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="3b")
    parser.add_argument("--step-packs", type=int, default=64)
    parser.add_argument("--draws", type=int, default=10_000_000)
    arguments = parser.parse_args()
    step_packs, cost = arguments.step_packs, pack_cost(at_672(arguments.size))
    count = STEPS * step_packs
    print(f"{arguments.size}: {cost.per_tile / 1e12:.2f} TFLOP a tile forward, {cost.per_token / 1e9:.2f} GFLOP a token")
    ranks = [number for number in RANKS if step_packs % number == 0]
    print(f"{'seed':<5} {'packs':<14} {'fill':>6}  imbalance over " + "  ".join(f"{n:>5} ranks" for n in ranks))
    for seed in range(arguments.seeds):
        mixture, costs = all_mixture.mixture(seed)

        def plan(by: PackCost) -> Planner:
            names = [pool.name for pool in mixture.pools]
            return Planner(mixture, costs, BUDGET, WINDOW, names, step_packs=step_packs, cost=by)

        planner = plan(cost)
        began = time.perf_counter()
        ours = packs_of(planner, costs, count)
        seconds = time.perf_counter() - began
        shuffled = numpy_rng(seed, "not ordered").permutation(count)
        kinds = {
            "planned": ours,
            "tokens alone": packs_of(plan(PackCost()), costs, count),
            "not ordered": [ours[index] for index in shuffled],
            "arrival": arrival(planner, costs, count),
        }
        for name, packs in kinds.items():
            values = "  ".join(f"{imbalance(packs, cost, number, step_packs):>11.3f}" for number in ranks)
            print(f"{seed:<5} {name:<14} {fill(packs):>6.3f}  {'':<15}{values}")
        samples = np.concatenate(ours)
        flops = 3 * statistics.mean(cost.of(pack).sum() for pack in ours)
        planned, consumed = count / seconds, FLOPS_PER_SECOND / flops
        print(
            f"      {len(samples) / count:.2f} samples a pack, {samples[:, 1].mean():.2f} tiles and "
            f"{samples[:, 0].mean():.0f} tokens a sample; drift of text-only {drift(planner, step_packs):.2f}\n"
            f"      planned {planned:,.0f} packs/s; one rank at 55 % of 989 TFLOP/s takes {consumed:.2f}: "
            f"{planned / consumed:,.0f}x one rank, {planned / consumed / 64:,.0f}x 64 ranks"
        )
        print(f"      {restored(planner, plan, cost, arguments.draws)}")


def packs_of(planner: Planner, costs: Sequence[np.ndarray], count: int) -> Packs:
    return [np.array([costs[source][row] for source, row in planner.pack(number)]) for number in range(count)]


def restored(planner: Planner, plan: object, cost: PackCost, draws: int) -> str:
    """Times of going on behind so many draws, from a saved anchor."""
    assert callable(plan)
    window = draws // WINDOW
    first = int(window * WINDOW / planner.draws_per_pack)
    state = {"pack": first + 5, "plan_hash": planner.plan_hash, "anchor": [window, first], "parts": planner.parts}
    times = []
    for _ in range(15):
        fresh = plan(cost)
        assert fresh.plan_hash == planner.plan_hash
        began = time.perf_counter()
        pack = fresh.pack(fresh.restore(state))
        times.append(1000 * (time.perf_counter() - began))
        assert pack
    return (
        f"restored behind {window * WINDOW:,} draws in {statistics.median(times):.1f} ms "
        f"({min(times):.1f}–{max(times):.1f}, n={len(times)}), first pack included"
    )


if __name__ == "__main__":
    main()
