"""What a model weighs and what a picture costs, from its config alone: nothing is allocated.

Encoder and connector are counted by running them on the meta device; the decoder's cost per token is written out, as it
depends on which experts a token meets. A multiply-add counts as two operations.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mm15.model.experts import Experts
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import DecoderConfig, ModelConfig

COMPONENTS = ("vision", "connector", "decoder")
TRAINING_BYTES = 16
"""Per parameter: weight, gradient and AdamW's two averages in fp32."""
LATER_TILE = {378: 672}
"""Tiles of the papers' encoder are larger after pre-training."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """A way to cut pictures: the side of a tile in px, and the least and most tiles of one picture."""

    name: str
    tile: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Weight:
    """Parameters: all of them, and those that a token meets."""

    total: int
    active: int


@dataclass(frozen=True, slots=True)
class PictureCost:
    """One picture cut one way, for the least and the most tiles: decoder positions (without indicator text), forward
    FLOPs of encoder and connector over its tiles, and of the decoder over its positions alone."""

    splitting: Splitting
    tokens: tuple[int, int]
    encoder_flops: tuple[int, int]
    decoder_flops: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Description:
    """A model in numbers. Bytes are of weights and optimizer only: activations depend on packs and policies."""

    components: dict[str, Weight]
    embedding: int
    """Word table and head, counted in the decoder too."""
    total: int
    active: int
    pictures: tuple[PictureCost, ...]
    training_bytes: int
    """fp32 weights, gradients, AdamW."""
    serving_bytes: dict[str, int]
    """Weights by dtype."""
    cache_bytes: int
    """Keys and values of one position, bf16."""


def describe(config: ModelConfig, splittings: Sequence[Splitting] | None = None) -> Description:
    """All numbers of a config. ``splittings``: default those of the papers, for this encoder's tiles."""
    model = on_meta(config)
    components = {name: weigh(model.get_submodule(name)) for name in COMPONENTS}
    decoder = model.decoder
    tables = [decoder.embedding.weight] + ([decoder.untied_head.weight] if decoder.untied_head is not None else [])
    costs = {tile: tile_flops(config, tile) for tile in {cut.tile for cut in splittings or papers_splittings(config)}}
    pictures = []
    for cut in splittings or papers_splittings(config):
        tokens = (cut.least * config.connector.tokens, cut.most * config.connector.tokens)
        pictures.append(
            PictureCost(
                splitting=cut,
                tokens=tokens,
                encoder_flops=(cut.least * costs[cut.tile], cut.most * costs[cut.tile]),
                decoder_flops=(prompt_flops(config.decoder, tokens[0]), prompt_flops(config.decoder, tokens[1])),
            )
        )
    total = sum(weight.total for weight in components.values())
    return Description(
        components=components,
        embedding=sum(table.numel() for table in tables),
        total=total,
        active=sum(weight.active for weight in components.values()),
        pictures=tuple(pictures),
        training_bytes=TRAINING_BYTES * total,
        serving_bytes={"fp32": 4 * total, "bf16": 2 * total, "int8": total},
        cache_bytes=2 * 2 * config.decoder.layers * config.decoder.kv_heads * config.decoder.head_dim,
    )


def papers_splittings(config: ModelConfig) -> tuple[Splitting, ...]:
    """Pre-training, continual pre-training and fine-tuning of MM1.5, and pictures of samples with three or more."""
    first = config.vision.image_size
    later = LATER_TILE.get(first, first)
    cuts = (
        Splitting("pre-training: whole", first, 1, 1),
        Splitting("continual: 2x2 and overview", later, 5, 5),
        Splitting("sft: dynamic 4-9 and overview", later, 5, 10),
        Splitting("sft: whole (many pictures)", later, 1, 1),
    )
    return tuple(cuts)


def on_meta(config: ModelConfig) -> MultimodalModel:
    """The model without memory."""
    with torch.device("meta"):
        return MultimodalModel(config)


def weigh(module: nn.Module) -> Weight:
    """Parameters of a module; of experts a token meets its top k."""
    total = active = 0
    for name, parameter in module.named_parameters():
        total += parameter.numel()
        owner = module.get_submodule(name.rpartition(".")[0])
        active += parameter.numel() // len(parameter) * owner.top_k if isinstance(owner, Experts) else parameter.numel()
    return Weight(total, active)


def tile_flops(config: ModelConfig, tile: int) -> int:
    """Forward FLOPs of encoder and connector for one tile of ``tile`` px."""
    return sum(tile_costs(config, tile))


def tile_costs(config: ModelConfig, tile: int) -> tuple[int, int]:
    """Forward FLOPs of (encoder, connector) for one tile of ``tile`` px."""
    return _tile_costs(config.model_dump_json(), tile)


@functools.lru_cache(maxsize=64)
def _tile_costs(config: str, tile: int) -> tuple[int, int]:
    raw = ModelConfig.model_validate_json(config).model_dump()
    raw["vision"]["image_size"] = tile
    raw["decoder"] |= {"layers": 1, "moe": None}  # it has no part in this
    model = on_meta(ModelConfig.model_validate(raw))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        patches = model.vision(torch.empty(1, 3, tile, tile, device="meta"), model.compute_dtype)
        vision = int(counter.get_total_flops())
        model.connector(patches)
    return vision, int(counter.get_total_flops()) - vision


def labelled_flops(config: DecoderConfig, tokens: float, pairs: float, targets: float) -> tuple[float, float]:
    """Forward FLOPs of (blocks, head) in training.

    Args:
        tokens: positions.
        pairs: of a position and one that it sees, itself included.
        targets: positions with a label: only these go through the last block's network and the head.
    """
    moe, layer = config.moe, config.layers - 1
    last = 3 * config.width * config.mlp_width
    if moe is not None and moe.in_layer(layer):
        last = moe.top_k * 3 * config.width * (moe.mlp_width or config.mlp_width) + moe.experts * config.width
    products = products_per_token(config) * tokens - last * (tokens - targets)
    attention = 4 * config.layers * config.heads * config.head_dim * pairs
    return 2 * products + attention, 2 * config.width * config.vocab_size * targets


def prompt_flops(config: DecoderConfig, tokens: int) -> int:
    """Forward FLOPs of reading ``tokens`` positions, without the head; every query sees itself and what is before."""
    seen = tokens * (tokens + 1) // 2
    attention = 4 * config.layers * config.heads * config.head_dim * seen
    return 2 * products_per_token(config) * tokens + attention


def products_per_token(config: DecoderConfig) -> int:
    """Weights that a position is multiplied with: projections, feed-forward networks or chosen experts, routers."""
    heads, inner = config.heads + 2 * config.kv_heads, config.mlp_width
    per_layer = config.width * config.head_dim * (heads + config.heads)
    total = config.layers * per_layer
    for layer in range(config.layers):
        if config.moe is not None and config.moe.in_layer(layer):
            chosen = config.moe.top_k * 3 * config.width * (config.moe.mlp_width or inner)
            total += chosen + config.moe.experts * config.width
        else:
            total += 3 * config.width * inner
    return total
