"""Training on several ranks beside the same on one: models, packs by number of images, and what is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mm15.base.batch import EncodedSample, PackedBatch, pack
from mm15.base.rng import numpy_rng
from mm15.dist.ranks import data_place, lay_out
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import ModelConfig
from mm15.train import optim
from mm15.train.optim import OptimizerSet, build_optimizer
from mm15.train.parallel import build_mesh, parallelise
from mm15.train.parallel_config import ParallelConfig
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from mm15.train.weights import Weights, fill
from training_fixture import CONFIG, random_pack, random_sample

MOE_CONFIG = ModelConfig.model_validate(
    {
        **CONFIG.model_dump(),
        "decoder": {**CONFIG.decoder.model_dump(), "moe": {"experts": 4, "every": 1, "mlp_width": 32, "capacity": 2.0}},
    }
)
PACKS = 4
"""Of a step, over all ranks."""


def join(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    # Muon's bf16 products would hide what is compared.
    optim.matmul_dtype = lambda device: torch.float32
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)


def leave() -> None:
    lay_out(None)
    dist.destroy_process_group()


def new_model(moe: bool = False) -> MultimodalModel:
    model = MultimodalModel(MOE_CONFIG if moe else CONFIG)
    model.init_weights(0)
    return model


def start(config: ParallelConfig | None, kind: Any, moe: bool = False) -> tuple[MultimodalModel, OptimizerSet]:
    """A model and its optimizer; without a config those of one rank."""
    model = new_model(moe)
    if config is not None:
        parallelise(model, config, build_mesh(config))
    return model, build_optimizer(model, OptimizerConfig(kind=kind, lr=2e-3, weight_decay=0.1))


def start_by_parts(
    empty: MultimodalModel, weights: Weights, config: ParallelConfig, kind: Any
) -> tuple[MultimodalModel, OptimizerSet]:
    """A model that is on the meta device until every rank reads its part, and its optimizer."""
    parallelise(empty, config, build_mesh(config))
    fill(empty, weights, torch.device("cpu"))
    return empty, build_optimizer(empty, OptimizerConfig(kind=kind, lr=2e-3, weight_decay=0.1))


def series(config: ParallelConfig | None, kind: str = "adamw", moe: bool = False, steps: int = 3) -> list[list[float]]:
    """(loss, gradient norm) of the first steps, see ``steps_of``."""
    return steps_of(*start(config, kind, moe), range(steps), alone=config is None)


def steps_of(model: MultimodalModel, optimizer: OptimizerSet, steps: range, alone: bool = False) -> list[list[float]]:
    """(loss, gradient norm) of these steps over packs of different lengths, this rank's share of them."""
    rank, world = (0, 1) if alone else data_place()
    told = []
    for step in steps:
        packs = [random_pack(PACKS * step + index, samples=1 + index % 3) for index in range(PACKS)]
        mine = packs[rank * PACKS // world : (rank + 1) * PACKS // world]
        report = train_step(model, optimizer, mine, clip=1.0, z_loss=1e-4)
        told.append([report.loss, report.grad_norm])
    return told


def pack_with(tiles: int, number: int, frames: bool = False) -> PackedBatch:
    """A pack of one sample with so many images, or a clip of so many frames (which is as many images), and one word
    sample."""
    rng = numpy_rng(11, "tiles", number)
    size = CONFIG.vision.image_size
    words = replace(_without_tiles(random_sample(3 * number)), key=f"words/{number}")
    image = torch.full((tiles * CONFIG.connector.tokens,), CONFIG.image_token)
    sample = EncodedSample(
        tokens_T=torch.cat([image, words.tokens_T]),
        labels_T=torch.cat([torch.full_like(image, -100), words.labels_T]),
        tiles_NCHW=torch.from_numpy(rng.integers(0, 256, (tiles, 3, size, size), dtype="uint8")),
        key=f"{'clip' if frames else 'images'}/{number}",
        source="made",
        category="general",
    )
    return pack([sample, words], CONFIG.image_token, CONFIG.connector.tokens)


def _without_tiles(sample: EncodedSample) -> EncodedSample:
    kept = sample.tokens_T != CONFIG.image_token
    return replace(
        sample,
        tokens_T=sample.tokens_T[kept],
        labels_T=sample.labels_T[kept],
        tiles_NCHW=sample.tiles_NCHW[:0],
    )
