"""Sum of cross-entropies over labelled positions, and the same per category and per source.

Legend: T tokens, S samples, L labelled positions, V vocabulary, K categories, R sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mm15.base.batch import PackedBatch
from mm15.base.types import Category

CATEGORIES = tuple(Category)
"""Order of the K rows of ``LossSums.by_category_K2``."""
CHUNK_ELEMENTS = 1 << 24
"""Logits turned to fp32 at once (64 MB); larger batches go in chunks."""
CACHE_ELEMENTS = 1 << 20
"""The same on a CPU, whose cache holds so many: twice as fast there."""


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
    objective, entropy_L = _CrossEntropy.apply(output.logits_LV, output.targets_L, z_loss)  # type: ignore[misc]
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


class _CrossEntropy(torch.autograd.Function):
    """Objective and entropies; the gradient is made on the way forward, while a chunk of logits is at hand.

    It is the objective's up to a factor, which backward multiplies in. So exponentials are taken once, where softmax,
    its repetition and its backward would take them three times.
    """

    @staticmethod
    def forward(ctx: Any, logits_LV: Tensor, targets_L: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
        grad_LV = torch.empty_like(logits_LV) if ctx.needs_input_grad[0] else None
        most = min(CHUNK_ELEMENTS, CACHE_ELEMENTS) if logits_LV.device.type == "cpu" else CHUNK_ELEMENTS
        rows = max(1, most // max(1, logits_LV.shape[-1]))
        entropies, squares = [], []
        for start in range(0, len(logits_LV), rows):
            part_LV, target_L1 = logits_LV[start : start + rows].float(), targets_L[start : start + rows, None]
            if grad_LV is None:
                log_z_L1 = part_LV.logsumexp(dim=-1, keepdim=True)
            else:
                weight_LV = part_LV.softmax(dim=-1)
                # The largest weight is at least 1/V: its logarithm loses nothing.
                log_z_L1 = part_LV.amax(dim=-1, keepdim=True) - weight_LV.amax(dim=-1, keepdim=True).log()
                if z_loss:
                    weight_LV *= 1 + 2 * z_loss * log_z_L1
                weight_LV.scatter_add_(1, target_L1, weight_LV.new_full(target_L1.shape, -1.0))
                grad_LV[start : start + rows] = weight_LV
            entropies.append((log_z_L1 - part_LV.gather(1, target_L1)).squeeze(1))
            squares.append(log_z_L1.square().sum())
        entropy_L = torch.cat(entropies) if entropies else logits_LV.new_zeros(0, dtype=torch.float32)
        objective = entropy_L.sum()
        if z_loss and squares:
            objective = objective + z_loss * torch.stack(squares).sum()
        ctx.grad_LV = grad_LV
        ctx.mark_non_differentiable(entropy_L)
        return objective, entropy_L

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        grad_LV, ctx.grad_LV = ctx.grad_LV, None  # used up: it is large
        return (None if grad_LV is None else grad_LV.mul_(grads[0])), None, None
