"""Floating-point operations of a training step by component. A multiply-add counts as two.

Counted is what the mathematics needs: attention over the pairs that are seen, no padding, no word table, no
recomputation (that is
told apart). Backward is twice forward: one product for the input's gradient, one for the weight's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from mm15.model.flops import on_meta, products_per_token
from mm15.model.sizes import ModelConfig

COMPONENTS = ("vision", "connector", "decoder", "head")


@dataclass(frozen=True, slots=True)
class Work:
    """Forward operations by component."""

    vision: float
    connector: float
    decoder: float
    head: float

    @property
    def forward(self) -> float:
        """All components."""
        return self.vision + self.connector + self.decoder + self.head

    @property
    def training(self) -> float:
        """Forward and backward."""
        return 3 * self.forward

    def again(self, checkpointing: str) -> float:
        """What is computed a second time on the way back: with ``full`` checkpointing all blocks of encoder and
        decoder,
        with ``selective`` only what is no matrix product, which is next to nothing."""
        return self.vision + self.decoder if checkpointing == "full" else 0.0


def work_of(config: ModelConfig, tile: int, tokens: float, tiles: float, pairs: float, targets: float) -> Work:
    """Forward operations of packs with so many positions, tiles of ``tile`` px, pairs of positions and targets.

    Args:
        pairs: of a position and one that it sees, itself included.
        targets: positions with a label; of the last block only these go through the feed-forward network.
    """
    decoder = config.decoder
    vision, connector = per_tile(config, tile)
    per_position = products_per_token(decoder)
    last = _last_feed_forward(config)
    attention = 4 * decoder.layers * decoder.heads * decoder.head_dim * pairs
    return Work(
        vision=vision * tiles,
        connector=connector * tiles,
        decoder=2 * (per_position * tokens - last * (tokens - targets)) + attention,
        head=2 * decoder.width * decoder.vocab_size * targets,
    )


def _last_feed_forward(config: ModelConfig) -> int:
    """Weights that a position is multiplied with behind the last block's attention."""
    decoder, moe = config.decoder, config.decoder.moe
    if moe is not None and moe.in_layer(decoder.layers - 1):
        return moe.top_k * 3 * decoder.width * (moe.mlp_width or decoder.mlp_width) + moe.experts * decoder.width
    return 3 * decoder.width * decoder.mlp_width


@lru_cache
def _counted(raw: str, tile: int) -> tuple[int, int]:
    values = ModelConfig.model_validate_json(raw).model_dump()
    values["vision"]["image_size"] = tile
    # The decoder has no part in it.
    values["decoder"] |= {"layers": 1, "moe": None}
    config = ModelConfig.model_validate(values)
    model = on_meta(config)
    pixels = torch.empty(1, 3, tile, tile, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = model.vision(pixels)
        vision = int(counter.get_total_flops())
        model.connector(features)
    return vision, int(counter.get_total_flops()) - vision


def per_tile(config: ModelConfig, tile: int) -> tuple[int, int]:
    """Forward operations of encoder and connector over one tile, counted on the meta device."""
    return _counted(config.model_dump_json(), tile)
