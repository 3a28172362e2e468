"""Tiles balanced over ranks: encoded where there is room, their features sent home.

A rank whose pack has many pictures would keep all others waiting: the encoder is 80 to 92 % of the work of supervised
steps of 1B and 3B models. So ranks with more tiles than their share give some to ranks with fewer.

Legend: N tiles, M tokens per tile, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd

from mm15.model.multimodal import MultimodalModel

WORTH = 1.2
"""Most over mean; below it what is won does not pay for the way."""


def balance_tiles(model: MultimodalModel, group: dist.ProcessGroup) -> None:
    """Let ``model.encode_tiles`` exchange tiles with the other ranks of the group; each must call it as often."""
    model.encode_tiles = BalancedTiles(model.encode_tiles, group)  # type: ignore[method-assign]


class BalancedTiles:
    """``encode_tiles`` over the tiles of all ranks; every tile's features come back to its rank, in order."""

    def __init__(self, encode: Callable[[Tensor], Tensor], group: dist.ProcessGroup) -> None:
        self.encode, self.group = encode, group
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)

    def __call__(self, tiles_NCHW: Tensor) -> Tensor:
        """[N, C, H, W] → [N, M, D]."""
        counts = torch.zeros(self.world, dtype=torch.long, device=tiles_NCHW.device)
        counts[self.rank] = len(tiles_NCHW)
        dist.all_reduce(counts, group=self.group)
        sent = shipments(counts.tolist())
        if sent is None:
            return self.encode(tiles_NCHW)
        out, into = sent[self.rank], [row[self.rank] for row in sent]
        kept = len(tiles_NCHW) - sum(out)
        guests_NCHW = tiles_NCHW.new_empty(sum(into), *tiles_NCHW.shape[1:])
        dist.all_to_all_single(guests_NCHW, tiles_NCHW[kept:].contiguous(), into, out, group=self.group)
        features_NMD = self.encode(torch.cat([tiles_NCHW[:kept], guests_NCHW]))
        home_NMD = all_to_all_single_autograd(features_NMD[kept:].contiguous(), out, into, self.group)
        return torch.cat([features_NMD[:kept], home_NMD])


def shipments(counts: Sequence[int]) -> list[list[int]] | None:
    """How many tiles rank a gives to rank b, ``[a][b]``; None where all have about as many.

    As few as possible travel: a rank keeps its share of its own tiles, and only what is over goes to where there is
    room. Ranks that hold more round their share up.
    """
    world, total = len(counts), sum(counts)
    if max(counts) * world <= WORTH * total:
        return None
    shares = [total // world] * world
    for rank in sorted(range(world), key=lambda rank: -counts[rank])[: total % world]:
        shares[rank] += 1
    room = [max(0, share - count) for share, count in zip(shares, counts, strict=True)]
    sent = [[0] * world for _ in range(world)]
    for giver in range(world):
        over = max(0, counts[giver] - shares[giver])
        for taker in range(world):
            sent[giver][taker] = moved = min(over, room[taker])
            over -= moved
            room[taker] -= moved
    return sent
