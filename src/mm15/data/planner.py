"""Which samples share a pack: a pure function of (plan, global pack number).

The stream of draws is cut into windows of W draws. Inside a window the draws are packed by two budgets at once, tokens
and tiles; every draw lands in exactly one pack, and the packs come in a seeded order. Micro-batch m of step s on rank r
is pack (s · accumulation + m) · world + r, so the world may change between runs and still every draw is used once.

How many packs a window holds is known only after packing it. ``anchor`` (a window and the number of its first pack) is
saved with a checkpoint, so that restoring packs one window; from k alone all windows before it are packed again, at
about 45,000 draws per second on one core.

Legend: N draws of a window, 2 = (tokens, tiles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import PositiveInt

from mm15.base.config import Strict, fingerprint
from mm15.base.errors import PlanMismatch, SkipBudgetExceeded
from mm15.base.rng import numpy_rng
from mm15.data.mixture import Mixture, MixtureConfig, Pool
from mm15.data.source import Skip, Source, check_skip_rate
from mm15.processor import Processor

Address = tuple[int, int]
"""(source number, row)."""
WINDOWS_KEPT = 3
VERSION = 1
"""Of the rules by which draws are ordered and packed: another version is another plan."""


class PackBudget(Strict):
    """What one pack holds at most."""

    max_tokens: PositiveInt
    max_tiles: PositiveInt


class Planner:
    """The plan of a run.

    Args:
        mixture: the order of draws.
        costs: per source int32 ``[R, 2]``, tokens and tiles of every row.
        budget: of one pack; no row that the mixture draws may exceed it.
        window: draws that are packed together.
        fingerprints: per source, what its content is known by.
        skips: rows that the mixture leaves out, for the report.
    """

    def __init__(
        self,
        mixture: Mixture,
        costs: Sequence[np.ndarray],
        budget: PackBudget,
        window: int,
        fingerprints: Sequence[str],
        skips: Sequence[Skip] = (),
    ) -> None:
        self.mixture = mixture
        self.budget = budget
        self.window = window
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
        return self._packs(window)[number - first]

    def anchor(self, number: int) -> tuple[int, int]:
        """The window of a pack, and the number of that window's first pack."""
        window = max(known for known, first in self._firsts.items() if first <= number)
        while number >= (following := self._firsts[window] + len(self._packs(window))):
            window += 1
            self._firsts[window] = following
        return window, self._firsts[window]

    @property
    def draws_per_pack(self) -> float:
        """Of the first window; later ones differ by about a percent."""
        return self.window / len(self._packs(0))

    @property
    def fill(self) -> tuple[float, float]:
        """Share of the token and of the tile budget that the packs of the first window use."""
        packs = self._packs(0)
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

    def _packs(self, window: int) -> list[list[Address]]:
        if window not in self._windows:
            source_N, row_N = self.mixture.order(window * self.window, self.window)
            packs = pack_window(self._loads(source_N, row_N))
            order = numpy_rng(self.mixture.seed, "packs", window).permutation(len(packs))
            addresses = list(zip(source_N.tolist(), row_N.tolist(), strict=True))
            if len(self._windows) >= WINDOWS_KEPT:
                del self._windows[next(iter(self._windows))]
            self._windows[window] = [[addresses[draw] for draw in packs[index]] for index in order]
        return self._windows[window]

    def _loads(self, source_N: np.ndarray, row_N: np.ndarray) -> np.ndarray:
        load_N2 = np.empty((len(row_N), 2))
        for source in np.unique(source_N):
            here = source_N == source
            load_N2[here] = self._costs[source][row_N[here]] / self._limits
        return load_N2


def pack_window(load_N2: np.ndarray) -> list[list[int]]:
    """Vector bin packing: every item into one pack, no pack above 1 in either dimension.

    One pack is filled at a time, always with the item that leaves the least room, measured as a weighted squared norm
    (norm-based greedy of Panigrahy et al. 2011, "Heuristics for Vector Bin Packing"); the weights are the total
    demands. Unlike first-fit-decreasing it pairs items that are long in one dimension with items long in the other.

    Args:
        load_N2: tokens and tiles of every item as shares of the budget, each at most 1.

    Returns:
        The items of every pack, ascending.
    """
    demand = load_N2.sum(0)
    tokens_weight, tiles_weight = demand / demand.max()
    left = np.arange(len(load_N2))
    packs = []
    while len(left):
        tokens, tiles = np.ascontiguousarray(load_N2[left].T)
        token_room = tile_room = 1.0 + 1e-9
        chosen: list[int] = []
        while True:
            token_rest, tile_rest = token_room - tokens, tile_room - tiles
            score = tokens_weight * token_rest**2 + tiles_weight * tile_rest**2
            score[(token_rest < 0) | (tile_rest < 0)] = np.inf
            best = int(score.argmin())
            if score[best] == np.inf:
                break
            chosen.append(best)
            token_room, tile_room = token_rest[best], tile_rest[best]
            tokens[best] = np.inf
        packs.append(sorted(left[chosen].tolist()))
        left = np.delete(left, chosen)
    return packs


def build_planner(
    sources: Sequence[Source],
    processor: Processor,
    mixture: MixtureConfig,
    budget: PackBudget,
    seed: int,
    window: int = 2048,
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
    return Planner(Mixture(mixture, pools, seed), costs, budget, window, fingerprints, all_skips)


def _too_large(source: Source, row: int, cost: np.ndarray, budget: PackBudget) -> Skip:
    reason = (
        f"{cost[0]} tokens and {cost[1]} tiles fit no pack of {budget.max_tokens} tokens and {budget.max_tiles} tiles; "
        f"allow larger packs or cut pictures into fewer tiles"
    )
    return Skip(row, source.address(row), reason)
