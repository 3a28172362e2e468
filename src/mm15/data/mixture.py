"""What is drawn and how often: weights count samples; position p of the stream → a row, as a pure function.

MM1.5 draws its SFT data in two levels. Super-groups (single-image, multi-image, text-only) are drawn with
weights w = 0.8 / 0.1 / 0.1. Inside the single-image group every category X is drawn in the proportion 1 : α_X against
general; text-rich is taken at its natural size, which in the paper amounts to α ≈ 3.29:

    groups:
      single: {weight: 0.8, members: {general: 1, text_rich: 3.29, refer_ground: 2, math: 0.5, code: 0.2, science: 0.1}}
      multi:  {weight: 0.1, members: {multi_image: 1}}
      text:   {weight: 0.1, members: {text_only: 1}}

The flat form is for stage 1, ``shares: {caption: 50, interleaved: 10, text: 40}``, and stage 2, ``shares: equal``
(every source equally often). A member is a category or the name of one source; the sources of a category share its
draws in proportion to their sizes, or to their weights.

Legend: N draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict
from mm15.base.errors import ConfigError
from mm15.base.rng import permuted
from mm15.base.types import Category

GOLDEN = 0.6180339887498949


def check_shares(shares: Mapping[str, float]) -> None:
    """Raises ``ValueError`` naming every share that is negative or not finite."""
    if wrong := [f"{name} is {share}" for name, share in shares.items() if not 0 <= share < math.inf]:
        raise ValueError(f"weights and ratios must be 0 or more: {', '.join(wrong)}")


class Group(Strict):
    """A super-group: its weight among the groups, and the ratio of its members to each other."""

    weight: float
    members: dict[str, float | Literal["natural"]] = Field(min_length=1)
    """Category or source → ratio. ``natural``: in proportion to size, on the scale on which general has its ratio."""

    @model_validator(mode="after")
    def _not_negative(self) -> Group:
        check_shares({"weight": self.weight} | {name: r for name, r in self.members.items() if r != "natural"})
        return self


class MixtureConfig(Strict):
    """Either ``groups`` or flat ``shares``."""

    groups: dict[str, Group] = Field(default_factory=dict)
    shares: dict[str, float] | Literal["equal"] = Field(default_factory=dict)
    empty: Literal["error", "renormalise"] = "error"
    """What to do with a category for which there is no data."""

    @model_validator(mode="after")
    def _one_form(self) -> MixtureConfig:
        if bool(self.groups) == bool(self.shares):
            raise ValueError("give either 'groups' or 'shares'")
        if self.shares != "equal":
            check_shares(self.shares)
        return self

    def empty_groups(self) -> list[str]:
        """A sentence for every group that has a weight, but only ratios of 0."""
        return [
            f"groups.{name}: the ratios of its members sum to 0, but its weight is {group.weight:g}"
            for name, group in self.groups.items()
            if group.weight > 0 and not any(group.members.values())
        ]

    def drawn(self) -> dict[str, str]:
        """Where in the config every category or source stands that is drawn: name → dotted path."""
        if self.shares == "equal":
            return {}
        if self.shares:
            return {name: f"shares.{name}" for name, share in self.shares.items() if share}
        return {
            name: f"groups.{group_name}.members.{name}"
            for group_name, group in self.groups.items()
            for name, ratio in group.members.items()
            if group.weight and ratio
        }


@dataclass(frozen=True, slots=True)
class Pool:
    """A source as the mixture sees it: the rows that may be drawn."""

    name: str
    category: Category
    rows: np.ndarray
    """Row numbers, int64."""
    weight: float | None = None
    max_epochs: float | None = None


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One line of the table that is printed before step one."""

    group: str
    category: str
    source: str
    size: int
    share: float
    draws: float
    epochs: float


class Mixture:
    """Exact shares over sources, and which row each position draws.

    Position p goes to a source by a low-discrepancy schedule: draw j of a source with share s stands at time
    (j + phase) / s, phases by the golden ratio, and the stream is all draws in order of time. After any number of
    draws the count of every source is within about two of its exact share. Inside a source the rows follow a seeded
    permutation per epoch, so every row comes once before any comes twice.

    Raises:
        ConfigError: with everything that is wrong with the mixture.
    """

    def __init__(self, config: MixtureConfig, pools: Sequence[Pool], seed: int) -> None:
        self.config = config
        self.pools = list(pools)
        self.seed = seed
        self.groups, self.shares = _resolve(config, self.pools)
        # By name, so that the order in which sources are listed does not matter.
        self._drawn = np.array(sorted(np.flatnonzero(self.shares > 0).tolist(), key=lambda index: pools[index].name))

    def order(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Source number and row of positions [start, start + count): two int64 vectors ``[N]``."""
        shares = self.shares[self._drawn]
        phases = (np.arange(1, len(shares) + 1) * GOLDEN) % 1
        # Counts stay within one of share·time, so the draws at these positions lie between these two times.
        margin = len(shares) + 1
        first = np.maximum(np.ceil(shares * (start - margin) - phases), 0).astype(np.int64)
        last = np.ceil(shares * (start + count + margin) - phases).astype(np.int64)
        which_N = np.repeat(np.arange(len(shares)), last - first)
        draw_N = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        # Stable, so equal times go by source; and quick, for the times of each source ascend.
        by_time = np.argsort((draw_N + phases[which_N]) / shares[which_N], kind="stable")
        chosen = by_time[start - int(first.sum()) :][:count]
        source_N, draw_N = self._drawn[which_N[chosen]], draw_N[chosen]
        return source_N, self._rows(source_N, draw_N)

    def _rows(self, source_N: np.ndarray, draw_N: np.ndarray) -> np.ndarray:
        row_N = np.empty_like(draw_N)
        for source in np.unique(source_N):
            here = source_N == source
            rows = self.pools[source].rows
            epochs, places = np.divmod(draw_N[here], len(rows))
            # Ascending draws: the epochs follow each other.
            row_N[here] = np.concatenate(
                [
                    rows[permuted(places[epochs == epoch], len(rows), self.seed, "epoch", self.pools[source].name, epoch)]
                    for epoch in np.unique(epochs)
                ]
            )
        return row_N

    def share_table(self, draws: float) -> list[ShareRow]:
        """What a run of so many draws takes from every source."""
        return [
            ShareRow(group, pool.category, pool.name, size, float(share), share * draws, share * draws / max(size, 1))
            for group, pool, share in zip(self.groups, self.pools, self.shares, strict=True)
            for size in [len(pool.rows)]
        ]

    def check_repetition(self, draws: float) -> None:
        """The repetition ceiling, before step one.

        Raises:
            ConfigError: naming every source that a run of so many draws would repeat more often than allowed.
        """
        problems = [
            f"source '{pool.name}': {row.draws:.0f} draws from {row.size} rows are {row.epochs:.2f} epochs, but "
            f"max_epochs is {pool.max_epochs:g}; add rows, lower its share, draw less, or raise max_epochs"
            for pool, row in zip(self.pools, self.share_table(draws), strict=True)
            if pool.max_epochs is not None and row.epochs > pool.max_epochs
        ]
        if problems:
            raise ConfigError(problems, "mixture")


def _resolve(config: MixtureConfig, pools: Sequence[Pool]) -> tuple[list[str], np.ndarray]:
    """Group and share of every pool; the shares sum to 1."""
    if config.shares == "equal":
        groups = {pool.name: Group(weight=1, members={pool.name: 1}) for pool in pools}
    elif config.shares:
        groups = {name: Group(weight=share, members={name: 1}) for name, share in config.shares.items()}
    else:
        groups = config.groups
    problems: list[str] = []
    pools_of = _members(groups, pools, problems)
    sizes = {name: sum(len(pools[i].rows) for i in indices) for name, indices in pools_of.items()}
    group_of, shares = [""] * len(pools), np.zeros(len(pools))
    for group_name, group in groups.items():
        ratios = _ratios(group_name, group, sizes, problems)
        if group.weight > 0 and config.empty == "error":
            problems += [
                f"{group_name}.{name}: a share above 0, but no usable rows; add a source, set it to 0, or set "
                f"empty: renormalise"
                for name, ratio in ratios.items()
                if ratio > 0 and not sizes[name]
            ]
        ratios = {name: ratio for name, ratio in ratios.items() if sizes[name]}
        scale = sum(ratios.values())
        for name, ratio in ratios.items():
            for index, part in _within(pools_of[name], pools, problems).items():
                group_of[index] = group_name
                shares[index] = group.weight * ratio * part / scale if scale else 0.0
    if not problems and shares.sum() == 0:
        problems.append("nothing is drawn: every weight is 0 or without data")
    if problems:
        raise ConfigError(problems, "mixture")
    return group_of, shares / shares.sum()


def _members(groups: dict[str, Group], pools: Sequence[Pool], problems: list[str]) -> dict[str, list[int]]:
    """Known member name → its pools. Every pool must belong to exactly one member."""
    names = sorted({str(category) for category in Category} | {pool.name for pool in pools})
    pools_of: dict[str, list[int]] = {}
    owners: list[list[str]] = [[] for _ in pools]
    for group_name, group in groups.items():
        for name in group.members:
            if name not in names:
                problems.append(f"{group_name}.{name}: neither a category nor a source{did_you_mean(name, names)}")
                continue
            pools_of[name] = [i for i, pool in enumerate(pools) if name in (pool.name, pool.category)]
            for index in pools_of[name]:
                owners[index].append(f"{group_name}.{name}")
    for pool, owner in zip(pools, owners, strict=True):
        if len(owner) > 1:
            problems.append(f"source '{pool.name}' is drawn by {' and by '.join(owner)}; keep one of them")
        if not owner:
            problems.append(
                f"source '{pool.name}' is drawn by nothing: name it or its category {pool.category} in the mixture "
                f"(a share of 0 leaves it out), or remove the source"
            )
    return pools_of


def _ratios(group_name: str, group: Group, sizes: dict[str, int], problems: list[str]) -> dict[str, float]:
    """The known members of a group with their ratios as numbers."""
    members = {name: ratio for name, ratio in group.members.items() if name in sizes}
    ratios: dict[str, float] = {name: ratio for name, ratio in members.items() if not isinstance(ratio, str)}
    natural = [name for name in members if name not in ratios]
    if not ratios:
        per_row = 1.0
    elif ratios.get(Category.GENERAL) and sizes[Category.GENERAL]:
        per_row = ratios[Category.GENERAL] / sizes[Category.GENERAL]
    elif natural:
        problems.append(
            f"{group_name}: 'natural' ({', '.join(natural)}) is measured against general, which has no rows or no "
            f"share here; give a number"
        )
        per_row = 0.0
    else:
        per_row = 0.0
    ratios |= {name: per_row * sizes[name] for name in natural}
    if group.weight > 0 and ratios and not natural and sum(ratios.values()) == 0:
        problems.append(f"{group_name}: the ratios of its members sum to 0, but its weight is {group.weight:g}")
    return ratios


def _within(indices: list[int], pools: Sequence[Pool], problems: list[str]) -> dict[int, float]:
    """How the pools of one member share its draws; those without rows get none."""
    bare = [pools[index].name for index in indices if pools[index].weight is None]
    if 0 < len(bare) < len(indices):
        problems.append(
            f"{pools[indices[0]].category}: give all of its sources a weight, or none; without one: {', '.join(bare)}"
        )
    parts = {i: (pools[i].weight or len(pools[i].rows)) if len(pools[i].rows) else 0 for i in indices}
    return {index: part / sum(parts.values()) for index, part in parts.items()}
