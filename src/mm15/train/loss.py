"""Sum of cross-entropies over labelled positions, and the same per category and per source.

Legend: T tokens, S samples, L labelled positions, V vocabulary, K categories, R sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mm15.base.batch import PackedBatch
from mm15.base.types import Category

CATEGORIES = tuple(Category)
"""Order of the K rows of ``LossSums.by_category_K2``."""
CHUNK_ELEMENTS = 1 << 24
"""Logits turned to fp32 at once (64 MB); larger batches go in chunks that are computed again on the way back."""


class Logits(Protocol):
    """What a model's forward returns: logits where there is a label, the label, and its place in the pack."""

    logits_LV: Tensor
    targets_L: Tensor
    positions_L: Tensor


class LossSums(NamedTuple):
    """Sums, not means: the step divides once by the targets of all micro-batches and ranks."""

    objective: Tensor
    """Scalar with gradient: cross-entropy plus z-loss."""
    cross_entropy: Tensor
    """Scalar, detached."""
    by_category_K2: Tensor
    """fp64, detached: cross-entropy and number of targets per category, in the order of ``CATEGORIES``."""
    by_source_R2: Tensor
    """The same per source, in the order that was asked for."""


def loss_sums(output: Logits, batch: PackedBatch, z_loss: float = 0.0, sources: Sequence[str] = ()) -> LossSums:
    """Cross-entropy in fp32, summed. ``z_loss`` · log²Z is added per labelled position (PaLM, 2204.02311, section 5).

    Args:
        output: logits at the L labelled positions of the batch.
        batch: its borders, categories and sources say which sample, category and source a position belongs to.
        sources: names of the R sources that are told apart; a sample of another source is in none of the R rows.
    """
    rows = max(1, CHUNK_ELEMENTS // max(1, output.logits_LV.shape[-1]))
    pairs = list(zip(output.logits_LV.split(rows), output.targets_L.split(rows), strict=True))
    if len(pairs) == 1:
        entropies = [_entropy(*pairs[0], z_loss)]
    else:
        entropies = [checkpoint(_entropy, *pair, z_loss, use_reentrant=False) for pair in pairs]
    entropy_L = torch.cat([entropy for entropy, _ in entropies])
    objective = torch.stack([total for _, total in entropies]).sum()

    entropy_L = entropy_L.detach()
    categories = [CATEGORIES.index(Category(name)) for name in batch.categories if len(entropy_L)]
    place = {name: row for row, name in enumerate(sources)}
    rows_of = [place.get(name, len(place)) for name in batch.sources]
    ends_S = torch.tensor(batch.borders[1:], device=entropy_L.device)
    sample_L = torch.bucketize(output.positions_L, ends_S, right=True)
    by_category_K2 = _by_kind(entropy_L, sample_L, categories, len(CATEGORIES))
    by_source_R2 = _by_kind(entropy_L, sample_L, rows_of, len(place) + 1)[:-1]
    return LossSums(objective, entropy_L.sum(), by_category_K2, by_source_R2)


def _by_kind(entropy_L: Tensor, sample_L: Tensor, kind_of: Sequence[int], kinds: int) -> Tensor:
    """[kinds, 2] fp64: summed entropy and positions of the samples of each kind; zeros where no kinds are told."""
    sums_K2 = torch.zeros(kinds, 2, dtype=torch.float64, device=entropy_L.device)
    if kind_of and len(entropy_L):
        kind_S = torch.tensor(kind_of, device=entropy_L.device)
        values_L2 = torch.stack([entropy_L.double(), torch.ones_like(entropy_L, dtype=torch.float64)], dim=1)
        sums_K2.index_add_(0, kind_S[sample_L], values_L2)
    return sums_K2


def _entropy(logits_LV: Tensor, targets_L: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy per position, and the scalar to train on."""
    logits_LV = logits_LV.float()
    entropy_L = functional.cross_entropy(logits_LV, targets_L, reduction="none")
    objective = entropy_L.sum()
    if z_loss:
        objective = objective + z_loss * logits_LV.logsumexp(dim=-1).square().sum()
    return entropy_L, objective
