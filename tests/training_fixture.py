"""A tiny real model and an endless stream of random packs for it: training without files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from mm15.base.batch import IGNORE, EncodedSample, PackedBatch, pack
from mm15.base.errors import PlanMismatch
from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES
from mm15.train.run_config import OptimizerConfig, ScheduleConfig, TrainConfig

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


FAULTY = TrainConfig(
    steps=10,
    accumulation=2,
    save_every=2,
    precision="fp32",
    max_bad_steps=3,
    optimizer=OptimizerConfig(kind="muon", lr=1e-3),
    schedule=ScheduleConfig(warmup=0),
)
"""A short run to which something happens."""


class Poison(torch.nn.Module):
    """The debug model with NaN or Inf in the logits of the packs that hold given samples, or in their gradients."""

    def __init__(self, keys: Iterable[str], value: float = float("nan"), gradient_only: bool = False) -> None:
        super().__init__()
        self.inner = debug_model()
        self.keys, self.value, self.gradient_only = set(keys), value, gradient_only

    def forward(self, batch: PackedBatch) -> Any:
        output = self.inner(batch)
        if self.keys & set(batch.keys):
            if self.gradient_only:
                output.logits_LV.register_hook(lambda grad: grad * self.value)
            else:
                output = output._replace(logits_LV=output.logits_LV + self.value)
        return output
