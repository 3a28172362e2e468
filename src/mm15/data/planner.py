"""Which samples share a pack: a pure function of (plan, global pack number).

The stream of draws is cut into windows of W draws. Inside a window the draws are packed by two budgets at once, tokens
and tiles; every draw lands in exactly one pack. The packs of one optimizer step cost about the same, so that no rank
waits for another: a window's packs are sorted by their FLOPs, cut into steps, and the steps come in a seeded order.

A step is A consecutive packs. Micro-batch m on rank r of R is number m · R + r of them: any R that divides A takes
every pack once, so ranks may change between runs. As the packs of a step are in the order of their cost, those of one
micro-batch are neighbours, whatever R is.

How many packs a window holds is known only after packing it. ``anchor`` (a window and the number of its first pack) is
saved with a checkpoint, so that restoring packs one window; from k alone all windows before it are packed again, at
about 45,000 draws per second on one core.

Legend: N draws of a window, P packs of it, A packs of a step, 2 = (tokens, tiles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from mm15.base.config import Strict, fingerprint
from mm15.base.errors import PlanMismatch, SkipBudgetExceeded
from mm15.base.rng import numpy_rng
from mm15.data.mixture import Mixture, MixtureConfig, Pool
from mm15.data.source import Skip, Source, check_skip_rate
from mm15.model.flops import products_per_token, tile_flops
from mm15.model.sizes import ModelConfig
from mm15.processor import Processor

Address = tuple[int, int]
"""(source number, row)."""
WINDOWS_KEPT = 3
VERSION = 2
"""Of the rules by which draws are ordered and packed: another version is another plan."""


class PackBudget(Strict):
    """What one pack holds at most."""

    max_tokens: PositiveInt
    max_tiles: PositiveInt


class PackCost(Strict):
    """What samples cost in any unit, FLOPs for example: by token, by squared length, by tile."""

    per_token: NonNegativeFloat = 1.0
    per_square: NonNegativeFloat = 0.0
    """Of a sample's tokens squared: every position attends to those of its own sample before it."""
    per_tile: NonNegativeFloat = 0.0

    def of(self, cost_N2: np.ndarray) -> np.ndarray:
        """[N] from tokens and tiles."""
        tokens_N, tiles_N = cost_N2.T.astype(float)
        return self.per_token * tokens_N + self.per_square * tokens_N**2 + self.per_tile * tiles_N


BY_TOKENS = PackCost()


class Planner:
    """The plan of a run.

    Args:
        mixture: the order of draws.
        costs: per source int32 ``[R, 2]``, tokens and tiles of every row.
        budget: of one pack; no row that the mixture draws may exceed it.
        window: draws that are packed together.
        fingerprints: per source, what its content is known by.
        skips: rows that the mixture leaves out, for the report.
        step_packs: packs of an optimizer step over all ranks.
        cost: by which the packs of a step are alike.
    """

    def __init__(
        self,
        mixture: Mixture,
        costs: Sequence[np.ndarray],
        budget: PackBudget,
        window: int,
        fingerprints: Sequence[str],
        skips: Sequence[Skip] = (),
        step_packs: int = 1,
        cost: PackCost = BY_TOKENS,
    ) -> None:
        self.mixture = mixture
        self.budget = budget
        self.window = window
        self.step_packs = step_packs
        self.cost = cost
        self._costs = list(costs)
        self._limits = np.array([budget.max_tokens, budget.max_tiles], float)
        self._windows: dict[int, list[list[Address]]] = {}
        self._firsts = {0: 0}
        """Window → number of its first pack, as far as they are known."""
        self.skips = list(skips)
        shares = ", ".join(
            f"{pool.name} {share:.2%}" for pool, share in zip(mixture.pools, mixture.shares, strict=True)
        )
        self.parts = {
            "version": str(VERSION),
            "seed": str(mixture.seed),
            "mixture": f"{fingerprint(mixture.config)} ({shares})",
            "budget": f"{budget.max_tokens} tokens, {budget.max_tiles} tiles",
            "window": f"{window} draws",
            "step": f"{step_packs} packs",
            "cost": f"{cost.per_token:.15g} a token, {cost.per_square:.15g} a squared length, "
            f"{cost.per_tile:.15g} a tile",
        }
        for pool, costs_R2, content in zip(mixture.pools, costs, fingerprints, strict=True):
            digest = hashlib.sha256(np.ascontiguousarray(costs_R2).tobytes() + pool.rows.tobytes()).hexdigest()[:12]
            self.parts[f"source {pool.name}"] = f"{content}, weight {pool.weight}, costs {digest}"

    @property
    def plan_hash(self) -> str:
        """Equal for equal plans, wherever the data lies: seed, mixture, budget, window, contents, costs."""
        return hashlib.sha256(repr(sorted(self.parts.items())).encode()).hexdigest()[:16]

    def pack(self, number: int) -> list[Address]:
        """The rows of a global pack, in the order of their draws."""
        window, first = self.anchor(number)
        return self._packs(window, first)[number - first]

    def pack_costs(self, number: int) -> np.ndarray:
        """int32 ``[S, 2]``: tokens and tiles of every sample of a global pack."""
        return np.array([self._costs[source][row] for source, row in self.pack(number)], np.int32)

    def anchor(self, number: int) -> tuple[int, int]:
        """The window of a pack, and the number of that window's first pack."""
        window = max(known for known, first in self._firsts.items() if first <= number)
        while number >= (following := self._firsts[window] + len(self._packs(window, self._firsts[window]))):
            window += 1
            self._firsts[window] = following
        return window, self._firsts[window]

    @property
    def draws_per_pack(self) -> float:
        """Of the first window; later ones differ by about a percent."""
        return self.window / len(self._packs(0, 0))

    @property
    def fill(self) -> tuple[float, float]:
        """Share of the token and of the tile budget that the packs of the first window use."""
        packs = self._packs(0, 0)
        used = sum(self._costs[source][row].astype(float) for pack in packs for source, row in pack)
        tokens, tiles = used / self._limits / len(packs)
        return float(tokens), float(tiles)

    def state(self, number: int) -> dict[str, Any]:
        """What to save in order to go on with this pack. Plain values, a few hundred bytes."""
        return {
            "pack": number,
            "plan_hash": self.plan_hash,
            "anchor": list(self.anchor(number)),
            "parts": self.parts,
        }

    def restore(self, state: Mapping[str, Any], accept_plan: bool = False) -> int:
        """The pack to go on with.

        Raises:
            PlanMismatch: the state was saved under another plan; names every part that differs.
        """
        if state["plan_hash"] == self.plan_hash:
            window, first = state["anchor"]
            self._firsts[window] = first
        elif not accept_plan:
            old = state["parts"]
            differing = "\n".join(
                f"  - {name}: was {old.get(name, 'absent')}, is {self.parts.get(name, 'absent')}"
                for name in dict.fromkeys([*old, *self.parts])
                if old.get(name) != self.parts.get(name)
            )
            raise PlanMismatch(
                f"the data plan is not the one that the checkpoint was made with, so some samples would come twice and "
                f"others never. Go back to the old settings, or accept the new plan. What differs:\n{differing}"
            )
        return state["pack"]

    def _packs(self, window: int, first: int) -> list[list[Address]]:
        if window not in self._windows:
            source_N, row_N = self.mixture.order(window * self.window, self.window)
            cost_N2 = self._costs_of(source_N, row_N)
            packs = pack_window(cost_N2 / self._limits)
            cost_N = self.cost.of(cost_N2)
            cost_P = np.array([cost_N[pack].sum() for pack in packs])
            rng = numpy_rng(self.mixture.seed, "packs", window)
            order = order_packs(cost_P, first, self.step_packs, rng)
            addresses = list(zip(source_N.tolist(), row_N.tolist(), strict=True))
            if len(self._windows) >= WINDOWS_KEPT:
                del self._windows[next(iter(self._windows))]
            self._windows[window] = [[addresses[draw] for draw in packs[index]] for index in order]
        return self._windows[window]

    def _costs_of(self, source_N: np.ndarray, row_N: np.ndarray) -> np.ndarray:
        cost_N2 = np.empty((len(row_N), 2))
        for source in np.unique(source_N):
            here = source_N == source
            cost_N2[here] = self._costs[source][row_N[here]]
        return cost_N2


def pack_window(load_N2: np.ndarray) -> list[list[int]]:
    """Vector bin packing: every item into one pack, no pack above 1 in either dimension.

    One pack is filled at a time, always with the item that brings it nearest to its aim: full in the dimension of which
    more is demanded, and with as much of the other as falls to a full pack. The distance is a weighted squared norm
    (norm-based greedy of Panigrahy et al. 2011, "Heuristics for Vector Bin Packing", there measured to the limits). So
    long texts and many tiles are spread over the packs, which cost about the same before anything is ordered.

    Args:
        load_N2: tokens and tiles of every item as shares of the budget, each at most 1.

    Returns:
        The items of every pack, ascending.
    """
    demand = load_N2.sum(0)
    token_share, tile_share = demand / demand.max()
    left = np.argsort(load_N2[:, 0], kind="stable")
    tokens, tiles = np.ascontiguousarray(load_N2[left].T)
    packs = []
    while len(left):
        token_room = tile_room = 1.0 + 1e-9
        token_aim, tile_aim = token_share, tile_share
        chosen: list[int] = []
        while fitting := int(tokens.searchsorted(token_room, "right")):
            score = token_share * (tokens[:fitting] - token_aim) ** 2
            score += tile_share * (tiles[:fitting] - tile_aim) ** 2
            score[tiles[:fitting] > tile_room] = np.inf
            best = int(score.argmin())
            if score[best] == np.inf:
                break
            chosen.append(best)
            token_room, tile_room = token_room - tokens[best], tile_room - tiles[best]
            token_aim, tile_aim = token_aim - tokens[best], tile_aim - tiles[best]
            tiles[best] = 2.0  # fits nowhere: it is taken
        packs.append(sorted(left[chosen].tolist()))
        rest = np.delete(np.arange(len(left)), chosen)
        left, tokens, tiles = left[rest], tokens[rest], tiles[rest]
    return packs


def order_packs(cost_P: np.ndarray, first: int, step_packs: int, rng: np.random.Generator) -> list[int]:
    """The order of a window's packs: step by step, each of packs that cost about the same.

    Steps do not end where windows do. What completes the step of the window before, and what begins one that the next
    window completes, is taken from the middle of the costs, which is about the same in every window.

    Args:
        cost_P: of every pack.
        first: number of the window's first pack in the stream.
        step_packs: packs of a step.

    Returns:
        A permutation of the packs. Inside a step costs rise, or fall (a coin decides).
    """
    count = len(cost_P)
    # Shuffled before the stable sort, so that packs of equal cost are in no order of their making.
    shuffled = rng.permutation(count)
    ranked = shuffled[np.argsort(cost_P[shuffled], kind="stable")]
    head = min(-first % step_packs, count)
    cut = head + (count - head) % step_packs
    start = (count - cut) // 2
    middle = ranked[start : start + cut]
    steps = np.concatenate([ranked[:start], ranked[start + cut :]]).reshape(-1, step_packs)
    parts = [steps[number][:: rng.choice((1, -1))] for number in rng.permutation(len(steps))]
    dealt = rng.permutation(cut)
    ends = (np.sort(dealt[:head]), np.sort(dealt[head:]))
    return np.concatenate([middle[ends[0]], *parts, middle[ends[1]]]).tolist()


def build_planner(
    sources: Sequence[Source],
    processor: Processor,
    mixture: MixtureConfig,
    budget: PackBudget,
    seed: int,
    window: int = 2048,
    step_packs: int = 1,
    cost: PackCost = BY_TOKENS,
) -> Planner:
    """Cost every source, leave out what cannot be used or fits no pack, and plan.

    Raises:
        SkipBudgetExceeded: naming every source that loses more than its ``max_skip_rate``, and rows of it.
        ConfigError: everything that is wrong with the mixture.
    """
    pools, costs, all_skips, problems = [], [], [], []
    for source in sources:
        costs_R2, skips = source.scan(processor)
        too_large = (costs_R2 > [budget.max_tokens, budget.max_tiles]).any(1)
        skips = skips + [_too_large(source, int(row), costs_R2[row], budget) for row in np.flatnonzero(too_large)]
        config = source.config
        try:
            check_skip_rate(config, skips, len(source), config.max_skip_rate * len(source))
        except SkipBudgetExceeded as error:
            problems.append(str(error))
        rows = np.flatnonzero((costs_R2[:, 0] > 0) & ~too_large)
        pools.append(Pool(source.name, config.category, rows, config.weight, config.max_epochs))
        costs.append(costs_R2)
        all_skips += skips
    if problems:
        raise SkipBudgetExceeded("\n".join(problems))
    fingerprints = [source.fingerprint for source in sources]
    mixed = Mixture(mixture, pools, seed)
    return Planner(mixed, costs, budget, window, fingerprints, all_skips, step_packs, cost)


def pack_cost(config: ModelConfig) -> PackCost:
    """Forward FLOPs by token, squared length and tile; backward is twice that of each, where all of it is trained.

    Without the head, which runs where there is a label: the size of a sample does not tell how many it has.
    """
    decoder = config.decoder
    return PackCost(
        per_token=2 * products_per_token(decoder),
        per_square=2 * decoder.layers * decoder.heads * decoder.head_dim,
        per_tile=tile_flops(config, config.vision.image_size),
    )


def _too_large(source: Source, row: int, cost: np.ndarray, budget: PackBudget) -> Skip:
    reason = (
        f"{cost[0]} tokens and {cost[1]} tiles fit no pack of {budget.max_tokens} tokens and {budget.max_tiles} tiles; "
        f"allow larger packs or cut pictures into fewer tiles"
    )
    return Skip(row, source.address(row), reason)
