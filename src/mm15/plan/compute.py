"""Floating-point operations of a training step by component. A multiply-add counts as two.

Counted is what the mathematics needs: attention over the pairs that are seen, no padding, no word table, no
recomputation (that is told apart). Backward is twice forward: one product for the input's gradient, one
for the weight's.
"""

from __future__ import annotations

from dataclasses import dataclass

from mm15.model.flops import labelled_flops, tile_costs
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
    vision, connector = tile_costs(config, tile)
    decoder, head = labelled_flops(config.decoder, tokens, pairs, targets)
    return Work(vision=vision * tiles, connector=connector * tiles, decoder=decoder, head=head)
