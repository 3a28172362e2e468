"""What a step costs in FLOPs, counted on the real packs: the numerator of the all-in MFU.

Counted: image encoder and connector over the tiles that are there; the decoder's projections and experts (those that a
token meets) per position; attention inside each sample, never across; the last block's network and the head only where
there is a label. Not counted: word embeddings (a look-up), norms and other point-wise work, and what activation
checkpointing computes again. Backward is twice forward where a part is trained; a frozen part costs no gradient of its
weights, and one with nothing trained before it no gradient at all.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from mm15.base.batch import PackedBatch
from mm15.model.flops import labelled_flops, tile_costs
from mm15.model.sizes import ModelConfig
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
            seen = sum(_seen(length, self.config.decoder.window) for length in lengths)
            rest = sum(labelled_flops(self.config.decoder, sum(lengths), seen, batch.num_targets))
        forward = (tiles * vision, tiles * connector, rest)
        return round(sum(factor * flops for factor, flops in zip(self.factors, forward, strict=True)))


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
