"""Rows as stated distributions make them, for data that is not here: ``stated.yaml``."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mm15.base.config import Strict, merge, read_yaml, validate
from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.images.split import Indicator, SplitPolicy, tile_layout

FILE = Path(__file__).with_name("stated.yaml")
ROWS = 8192
"""Drawn of every source: as many as fix its mean within about a percent."""
INDEX_TOKENS = 7
"""Of ``(0,2,1)`` before a tile, by a tokenizer that cuts numbers into digits."""


class TextSize(Strict):
    """Text tokens of a sample: log-normal."""

    median: PositiveFloat
    spread: NonNegativeFloat
    """Standard deviation of the logarithm."""
    trained: float = Field(ge=0, le=1)
    """Share of the text tokens that is trained on."""


class Stated(Strict):
    """What samples of a category or source are like."""

    text: TextSize
    pictures: dict[int, float]
    """How many pictures a sample has, and how often."""
    sides: list[tuple[int, int, float]] = Field(default_factory=list)
    """Pictures: height and width in px, and how often."""

    def draw(self, policy: SplitPolicy, tokens_per_tile: int, most: int, seed: int, name: str) -> np.ndarray:
        """int32 ``[R, 2]``: tokens and tiles of R samples. Longer samples than ``most`` tokens are left out."""
        rng = numpy_rng(seed, "stated", name)
        text_R = np.maximum(1, rng.lognormal(math.log(self.text.median), self.text.spread, ROWS)).astype(np.int64)
        numbers, chances = zip(*self.pictures.items(), strict=True)
        pictures_R = rng.choice(numbers, ROWS, p=np.array(chances) / sum(chances))
        tiles_R = np.zeros(ROWS, np.int64)
        if self.sides:
            kinds = np.array([side[2] for side in self.sides])
            for count in sorted({int(count) for count in pictures_R} - {0}):
                here = np.flatnonzero(pictures_R == count)
                cut = [len(tile_layout(height, width, policy, count)) for height, width, _ in self.sides]
                chosen = rng.choice(len(kinds), (len(here), count), p=kinds / kinds.sum())
                tiles_R[here] = np.array(cut)[chosen].sum(1)
        index = INDEX_TOKENS if policy.indicator is Indicator.INDEX else 0
        tokens_R = text_R + tiles_R * (tokens_per_tile + index)
        costs_R2 = np.stack([tokens_R, tiles_R], 1).astype(np.int32)
        return costs_R2[tokens_R <= most]


class Distributions(Strict):
    """The file."""

    categories: dict[Category, Stated]
    sources: dict[str, dict[str, Any]]
    """Source → what is not as in its category."""


@cache
def distributions() -> Distributions:
    """What ships with the package."""
    return validate(Distributions, read_yaml(FILE), where=FILE.name)


def stated(source: str, category: Category) -> Stated:
    """What samples of a source are like: its own numbers, else its category's."""
    known = distributions()
    raw = known.categories[category].model_dump()
    return validate(Stated, merge(raw, known.sources.get(source, {})), where=f"{FILE.name}: {source}")
