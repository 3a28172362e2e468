"""A tiny real model and an endless stream of random packs for it: training without files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from mm15.base.batch import IGNORE, EncodedSample, PackedBatch, pack
from mm15.base.errors import PlanMismatch
from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES

# Models this small are several times slower on two threads than on one.
torch.set_num_threads(1)

CONFIG = SIZES["debug"]
SPREAD = (Category.GENERAL, Category.TEXT_RICH, Category.TEXT_ONLY)


def debug_model(seed: int = 0) -> MultimodalModel:
    model = MultimodalModel(CONFIG)
    model.init_weights(seed)
    return model


def random_sample(number: int) -> EncodedSample:
    """0 to 2 tiles and 12 to 30 words; about half of the words are trained on."""
    rng = numpy_rng(7, "sample", number)
    tiles, words = int(rng.integers(0, 3)), int(rng.integers(12, 31))
    image_run = [CONFIG.image_token] * (tiles * CONFIG.connector.tokens)
    tokens = [2, *image_run, *rng.integers(3, CONFIG.decoder.vocab_size, words).tolist()]
    first = len(tokens) - words // 2
    targets = [IGNORE] * first + tokens[first:]
    size = CONFIG.vision.image_size
    return EncodedSample(
        tokens_T=torch.tensor(tokens),
        labels_T=torch.tensor([*targets[1:], IGNORE]),
        tiles_NCHW=torch.from_numpy(rng.integers(0, 256, (tiles, 3, size, size), dtype="uint8")),
        key=f"random/{number}",
        source="random",
        category=SPREAD[number % len(SPREAD)],
    )


def random_pack(number: int, samples: int = 2) -> PackedBatch:
    """Pack k holds samples k·samples …: one pack of 8 is eight packs of 1."""
    numbers = range(number * samples, (number + 1) * samples)
    return pack([random_sample(n) for n in numbers], CONFIG.image_token, CONFIG.connector.tokens)


class RandomPacks:
    """Looks like ``data.loader.Loader``: pack k is a pure function of k, the state is one integer and a plan hash."""

    def __init__(self, samples: int = 2, plan: str = "random") -> None:
        self.samples, self.plan, self.position = samples, plan, 0

    def state(self) -> dict[str, Any]:
        return {"pack": self.position, "plan_hash": self.plan}

    def restore(self, state: Mapping[str, Any], accept_plan: bool = False) -> None:
        if state["plan_hash"] != self.plan and not accept_plan:
            raise PlanMismatch(f"saved under {state['plan_hash']}, now {self.plan}")
        self.position = state["pack"]

    def __iter__(self) -> Iterator[tuple[int, PackedBatch]]:
        while True:
            self.position += 1
            yield self.position - 1, random_pack(self.position - 1, self.samples)
