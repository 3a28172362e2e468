"""What a step costs in FLOPs, counted on the real packs: the numerator of the all-in MFU.

Counted: image encoder and connector over the tiles that are there; the decoder's projections and experts (those that a
token meets) per position; attention inside each sample, never across; the last block's network and the head only where
there is a label. Not counted: word embeddings (a look-up), norms and other point-wise work, and what activation
checkpointing computes again. Backward is twice forward where a part is trained; a frozen part costs no gradient of its
weights, and one with nothing trained before it no gradient at all.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mm15.base.batch import PackedBatch
from mm15.model.flops import on_meta, products_per_token
from mm15.model.sizes import DecoderConfig, ModelConfig
from mm15.train.encoder import EncoderModel


class StepWork:
    """Counts packs for one model, as its parameters are trained or frozen at the time of this call.

    Args:
        model: a ``MultimodalModel`` or ``EncoderModel``, sharded or not.
    """

    def __init__(self, model: nn.Module) -> None:
        self.config: ModelConfig = model.config  # type: ignore[assignment]
        self._answers = 0
        parts: list[nn.Module] = [model.vision, model.connector]  # type: ignore[list-item]
        if isinstance(model, EncoderModel):
            parts.append(model.head)
            self._answers = 2 * self.config.connector.tokens * (
                model.head.weight.numel() + self.config.decoder.width * model.num_labels
            )  # fmt: skip
        else:
            parts.append(model.decoder)  # type: ignore[arg-type]
        self.factors = _factors(parts)

    def __call__(self, batch: PackedBatch) -> int:
        """FLOPs of forward and backward over one pack."""
        tiles, side = batch.tiles_NCHW.shape[0], batch.tiles_NCHW.shape[-1]
        vision, connector = tile_costs(self.config, side) if tiles else (0, 0)
        if self._answers:
            rest = tiles * self._answers
        else:
            lengths = [end - start for start, end in pairwise(batch.borders)]
            rest = decoder_flops(self.config.decoder, lengths, batch.num_targets)
        forward = (tiles * vision, tiles * connector, rest)
        return round(sum(factor * flops for factor, flops in zip(self.factors, forward, strict=True)))


def decoder_flops(config: DecoderConfig, lengths: list[int], targets: int) -> int:
    """Forward FLOPs of decoder and head over samples of these lengths, ``targets`` positions of which are labelled."""
    tokens = sum(lengths)
    attention = config.width * config.head_dim * 2 * (config.heads + config.kv_heads)
    shorter = config.model_copy(update={"layers": config.layers - 1})
    last_network = products_per_token(config) - products_per_token(shorter) - attention
    products = (products_per_token(config) - last_network) * tokens + last_network * targets
    seen = sum(_seen(length, config.window) for length in lengths)
    head = config.vocab_size * config.width * targets
    return 2 * (products + head) + 4 * config.layers * config.heads * config.head_dim * seen


@functools.lru_cache(maxsize=32)
def _costs(config: str, side: int) -> tuple[int, int]:
    raw = ModelConfig.model_validate_json(config).model_dump()
    raw["vision"]["image_size"] = side
    model = on_meta(ModelConfig.model_validate(raw))
    counts = []
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            patches = model.vision(torch.empty(1, 3, side, side, device="meta"), model.compute_dtype)
        counts.append(int(counter.get_total_flops()))
        with FlopCounterMode(display=False) as counter:
            model.connector(patches)
        counts.append(int(counter.get_total_flops()))
    return counts[0], counts[1]


def tile_costs(config: ModelConfig, side: int) -> tuple[int, int]:
    """Forward FLOPs of (encoder, connector) for one tile of ``side`` px."""
    return _costs(config.model_dump_json(), side)


def _seen(length: int, window: int | None) -> int:
    """Pairs of a query and a key that it sees."""
    inside = min(length, window or length)
    return inside * (inside + 1) // 2 + (length - inside) * inside


def _factors(parts: list[nn.Module]) -> list[float]:
    """Per part: forward, gradients handed through where something up to here is trained, gradients of its weights."""
    factors, any_before = [], False
    for part in parts:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in part.parameters()]
        trained = sum(size for size, wanted in sizes if wanted)
        any_before = any_before or trained > 0
        factors.append(1 + any_before + trained / max(1, sum(size for size, _ in sizes)))
    return factors
