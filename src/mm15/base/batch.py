"""What crosses from data to model: one encoded sample, and several of them packed end to end.

Legend: T tokens, S samples, N tiles, C channels, H W pixels of a tile.
A batch is a flat stream ``[T]`` with borders, never ``[B, T]`` with padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

IGNORE = -100
"""Label of a position that is not trained on."""


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """One sample as the model sees it.

    ``labels_T`` is already shifted: the label at t is the token at t + 1, ``IGNORE`` where that token is not trained.
    ``tiles_NCHW`` is uint8, unnormalised; tile n fills the n-th run of image tokens.
    """

    tokens_T: Tensor
    labels_T: Tensor
    tiles_NCHW: Tensor
    key: str
    source: str
    category: str

    @property
    def num_tokens(self) -> int:
        return int(self.tokens_T.numel())

    @property
    def num_tiles(self) -> int:
        return int(self.tiles_NCHW.shape[0])


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Several samples end to end. Positions restart at every border; attention never crosses one."""

    tokens_T: Tensor
    labels_T: Tensor
    positions_T: Tensor
    borders: tuple[int, ...]
    """S + 1 rising numbers from 0 to T; sample s is [borders[s], borders[s + 1])."""
    tiles_NCHW: Tensor
    tile_counts: tuple[int, ...]
    """Tiles per sample; their sum is N."""
    image_token: int
    tokens_per_tile: int
    keys: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    meta: dict[str, object] = field(default_factory=dict)

    @property
    def num_samples(self) -> int:
        return len(self.borders) - 1

    @property
    def num_targets(self) -> int:
        """Positions with a label: the denominator of the loss."""
        return int((self.labels_T != IGNORE).sum())

    def to(self, device: torch.device | str) -> PackedBatch:
        """The same batch on another device."""
        return replace(
            self,
            tokens_T=self.tokens_T.to(device),
            labels_T=self.labels_T.to(device),
            positions_T=self.positions_T.to(device),
            tiles_NCHW=self.tiles_NCHW.to(device),
        )

    def check(self) -> None:
        """State the contract once. Raises ``ValueError`` naming the sample, the expected and the found numbers."""
        num_tokens = int(self.tokens_T.numel())
        if self.labels_T.shape != self.tokens_T.shape or self.positions_T.shape != self.tokens_T.shape:
            raise ValueError(
                f"tokens {tuple(self.tokens_T.shape)}, labels {tuple(self.labels_T.shape)} and positions "
                f"{tuple(self.positions_T.shape)} must have one shape [T]"
            )
        borders = self.borders
        if borders[0] != 0 or borders[-1] != num_tokens or any(a >= b for a, b in pairwise(borders)):
            raise ValueError(f"borders must rise from 0 to {num_tokens}, found {borders}")
        if len(self.tile_counts) != self.num_samples or sum(self.tile_counts) != self.tiles_NCHW.shape[0]:
            raise ValueError(
                f"tile counts {self.tile_counts} must list {self.num_samples} samples and sum to "
                f"{self.tiles_NCHW.shape[0]} tiles"
            )
        expected = torch.cat([torch.arange(b - a) for a, b in pairwise(borders)])
        if not torch.equal(self.positions_T.cpu(), expected.to(self.positions_T.dtype)):
            raise ValueError("positions must restart at 0 at every border and rise by one")
        is_image_T = (self.tokens_T == self.image_token).cpu()
        for index, (start, end) in enumerate(pairwise(borders)):
            name = self.keys[index] if self.keys else f"sample {index}"
            found = int(is_image_T[start:end].sum())
            wanted = self.tile_counts[index] * self.tokens_per_tile
            if found != wanted:
                raise ValueError(
                    f"{name}: {found} image positions for {self.tile_counts[index]} tiles of "
                    f"{self.tokens_per_tile} tokens (expected {wanted})"
                )
            for run in run_lengths(is_image_T[start:end]):
                # Runs of adjacent tiles may touch (no position indicator), so a run is a whole number of tiles.
                if run % self.tokens_per_tile:
                    raise ValueError(
                        f"{name}: a run of {run} image positions is not a multiple of {self.tokens_per_tile}"
                    )
        if bool((self.labels_T == self.image_token).any()):
            raise ValueError("a label's target is an image token; image positions are never predicted")


def run_lengths(mask_T: Tensor) -> list[int]:
    """Lengths of the runs of True in a bool vector, in order."""
    padded = torch.zeros(mask_T.numel() + 2, dtype=torch.int8)
    padded[1:-1] = mask_T.to(torch.int8)
    edges = padded.diff()
    starts = (edges == 1).nonzero().flatten()
    ends = (edges == -1).nonzero().flatten()
    return (ends - starts).tolist()


def pack(samples: Sequence[EncodedSample], image_token: int, tokens_per_tile: int) -> PackedBatch:
    """Lay samples end to end. Pure: the pack of the same samples is the same batch.

    Raises:
        ValueError: no samples, or one with zero tokens.
    """
    if not samples:
        raise ValueError("cannot pack zero samples")
    borders = [0]
    for sample in samples:
        if sample.num_tokens == 0:
            raise ValueError(f"{sample.key}: zero tokens")
        borders.append(borders[-1] + sample.num_tokens)
    return PackedBatch(
        tokens_T=torch.cat([sample.tokens_T for sample in samples]),
        labels_T=torch.cat([sample.labels_T for sample in samples]),
        positions_T=torch.cat([torch.arange(sample.num_tokens) for sample in samples]),
        borders=tuple(borders),
        tiles_NCHW=torch.cat([sample.tiles_NCHW for sample in samples]),
        tile_counts=tuple(sample.num_tiles for sample in samples),
        image_token=image_token,
        tokens_per_tile=tokens_per_tile,
        keys=tuple(sample.key for sample in samples),
        sources=tuple(sample.source for sample in samples),
        categories=tuple(sample.category for sample in samples),
    )
