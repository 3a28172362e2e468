"""What the packs of a run hold: exactly, from the sizes of the rows that are there, or from stated distributions.

Legend: P packs, K sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mm15.base.batch import IGNORE
from mm15.base.errors import ConfigError, SkipSample
from mm15.data.mixture import Mixture, Pool, ShareRow
from mm15.data.planner import PackBudget, Planner, build_planner, pack_cost
from mm15.data.source import Source, SourceConfig, open_sources
from mm15.datasets._registry import entry_of
from mm15.model.sizes import ModelConfig
from mm15.plan.stated import stated
from mm15.processor import Processor, ProcessorConfig
from mm15.text.tokenizer import Tokenizer
from mm15.train.recipe import Recipe

MOST_DRAWS = {"data": 100_000, "stated": 16_000}
"""Longer runs are known by so many draws at their start: the shares are the same everywhere in the stream."""
ENCODED = 24
"""Rows of a source that are encoded to see which share of their text is trained on."""
UNKNOWN_SIZE = 100_000
"""Rows of a source that is not there and whose size the registry does not know: an assumption."""
TOKENS_PER_DOCUMENT = 1000
"""Turns sizes that the registry gives in tokens into rows: an assumption."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Packs as the trainer will take them, one after another; every vector has an entry per pack."""

    origin: Literal["data", "stated"]
    tokens_P: np.ndarray
    tiles_P: np.ndarray
    samples_P: np.ndarray
    pairs_P: np.ndarray
    """Pairs of a position and one that it sees in the decoder: Σ l(l + 1) / 2 over the samples' lengths l."""
    targets_P: np.ndarray
    """Positions that are trained on; estimated from ``ENCODED`` rows a source, or as stated."""
    packs: int
    """Of the whole run; the vectors may hold the first of them only."""
    accumulation: int
    budget: PackBudget
    shares: tuple[ShareRow, ...]

    @property
    def exact(self) -> bool:
        """Whether every pack of the run is counted, from data."""
        return self.origin == "data" and len(self.tokens_P) == self.packs

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return self.packs // self.accumulation

    def total(self, values_P: np.ndarray) -> float:
        """Over the run."""
        return float(values_P.sum()) * self.packs / len(values_P)

    def per_step(self, values_P: np.ndarray) -> np.ndarray:
        """Sums over the packs of each step."""
        whole = len(values_P) // self.accumulation * self.accumulation
        if not whole:  # fewer packs known than a step has
            return values_P.sum(keepdims=True) * (self.accumulation / len(values_P))
        return values_P[:whole].reshape(-1, self.accumulation).sum(1)

    @property
    def fill(self) -> tuple[float, float]:
        """Mean share of the token and of the tile budget that a pack uses."""
        limits = self.budget.max_tokens, self.budget.max_tiles
        return float(self.tokens_P.mean() / limits[0]), float(self.tiles_P.mean() / limits[1])


def workload_of_data(recipe: Recipe, config: ModelConfig, data: Path) -> Workload:
    """From the rows' own sizes: token for token what the loader gives, as it follows the same plan.

    Raises:
        ConfigError: sources or tokenizer are not there.
        SkipBudgetExceeded: as training would.
    """
    path = data / recipe.tokenizer
    if not path.is_file():
        raise ConfigError([f"no such tokenizer: {path} (give --set tokenizer=FILE, or leave --data out)"], "--data")
    processor = Processor(
        ProcessorConfig(
            split=recipe.split,
            answer_split=recipe.answer_split,
            tokens_per_tile=config.connector.tokens,
            max_tokens=recipe.max_tokens,
        ),
        Tokenizer.from_file(path),
    )
    sources = open_sources(recipe.sources, data)
    budget = budget_of(recipe)
    planner = build_planner(
        sources,
        processor,
        recipe.mixture,
        budget,
        recipe.seed,
        recipe.window,
        step_packs=recipe.train.accumulation,
        cost=pack_cost(config),
    )
    trained_K = [_trained_share(source, processor) for source in sources]
    shares = planner.mixture.share_table
    return _counted("data", recipe, planner, trained_K, config.connector.tokens, shares)


def workload_as_stated(recipe: Recipe, config: ModelConfig) -> Workload:
    """From stated distributions, and the sizes that the registry knows."""
    pools, costs, trained_K, sizes = [], [], [], []
    budget = budget_of(recipe)
    most = min(recipe.max_tokens, budget.max_tokens)
    for source in recipe.sources:
        like = stated(source.name, source.category)
        costs_R2 = like.draw(recipe.split, config.connector.tokens, most, recipe.seed, source.name)
        costs_R2 = costs_R2[costs_R2[:, 1] <= budget.max_tiles]
        if not len(costs_R2):
            raise ConfigError([f"source '{source.name}': no stated sample fits a pack of {budget}"], "train")
        size = size_of(source)
        sizes.append(size)
        weight = source.weight if source.weight is not None else float(size)
        pools.append(Pool(source.name, source.category, np.arange(len(costs_R2)), weight, source.max_epochs))
        costs.append(costs_R2)
        trained_K.append(like.text.trained)
    mixture = Mixture(recipe.mixture, pools, recipe.seed)
    planner = Planner(
        mixture,
        costs,
        budget,
        recipe.window,
        [pool.name for pool in pools],
        step_packs=recipe.train.accumulation,
        cost=pack_cost(config),
    )

    def shares(draws: float) -> list[ShareRow]:
        rows = mixture.share_table(draws)
        return [replace(row, size=size, epochs=row.draws / size) for row, size in zip(rows, sizes, strict=True)]

    return _counted("stated", recipe, planner, trained_K, config.connector.tokens, shares)


def budget_of(recipe: Recipe) -> PackBudget:
    """Of one pack."""
    return PackBudget(max_tokens=recipe.train.pack_tokens, max_tiles=recipe.train.pack_tiles)


def size_of(source: SourceConfig) -> int:
    """Rows of a source that is not there, as the registry knows them under its name."""
    try:
        entry = entry_of(source.name)
    except ConfigError:
        return UNKNOWN_SIZE
    if entry.size is None:
        return UNKNOWN_SIZE
    return max(1, entry.size // TOKENS_PER_DOCUMENT) if entry.unit == "tokens" else entry.size


def _counted(
    origin: Literal["data", "stated"],
    recipe: Recipe,
    planner: Planner,
    trained_K: Sequence[float],
    per_tile: int,
    shares: Callable[[float], list[ShareRow]],
) -> Workload:
    accumulation = recipe.train.accumulation
    packs = recipe.train.steps * accumulation
    most = max(accumulation, int(MOST_DRAWS[origin] / planner.draws_per_pack) // accumulation * accumulation)
    rows = []
    for number in range(min(packs, most)):
        lengths = planner.pack_costs(number).astype(np.int64)
        of = np.array([trained_K[source] for source, _ in planner.pack(number)])
        tokens, tiles = lengths.T
        pairs = (tokens * (tokens + 1) // 2).sum()
        targets = (of * (tokens - tiles * per_tile)).sum()
        rows.append((tokens.sum(), tiles.sum(), len(lengths), pairs, targets))
    columns = np.array(rows, float).T
    tokens_P, tiles_P, samples_P, pairs_P = (column.astype(np.int64) for column in columns[:4])
    draws = columns[2].sum() * packs / len(rows)
    return Workload(
        origin=origin,
        tokens_P=tokens_P,
        tiles_P=tiles_P,
        samples_P=samples_P,
        pairs_P=pairs_P,
        targets_P=columns[4],
        packs=packs,
        accumulation=accumulation,
        budget=planner.budget,
        shares=tuple(shares(draws)),
    )


def _trained_share(source: Source, processor: Processor) -> float:
    """Which share of the text tokens of a source is trained on, by some of its rows."""
    text = targets = 0
    for row in np.unique(np.linspace(0, len(source) - 1, ENCODED).astype(int)):
        try:
            encoded = processor.encode(source.sample(int(row)))
        except SkipSample:
            continue
        text += encoded.num_tokens - encoded.num_tiles * processor.config.tokens_per_tile
        targets += int((encoded.labels_T != IGNORE).sum())
    return targets / max(1, text)
