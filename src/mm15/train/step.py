"""One optimizer step: summed over all micro-batches and ranks, divided once by their targets, checked before it counts.

Legend: K categories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mm15.base.batch import PackedBatch
from mm15.dist.ranks import data_group, has_ranks
from mm15.train.gradients import clip_gradients, reduce_gradients
from mm15.train.loss import CATEGORIES, loss_sums
from mm15.train.optim import OptimizerSet
from mm15.train.routing import gathered, told


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step saw. Numbers are sums over all micro-batches and ranks; losses are means per target."""

    loss: float
    grad_norm: float
    """Before clipping."""
    tokens: int
    targets: int
    tiles: int
    samples: int
    categories: dict[str, float]
    """Loss per category that occurred."""
    routing: tuple[dict[str, float], ...] = ()
    """What the experts of each layer were given; ``routing.told`` says what is told."""
    skipped: str = ""
    """Why weights and optimizer were left unchanged; empty after a proper step."""
    suspects: tuple[str, ...] = ()
    """Of a skipped step: keys of the samples in this rank's micro-batches with a NaN or Inf loss, else of all."""


def train_step(
    model: nn.Module, optimizer: OptimizerSet, batches: Sequence[PackedBatch], clip: float, z_loss: float = 0.0
) -> StepReport:
    """Forward, backward and one move of the optimizer.

    The loss is (sum of cross-entropies) / (number of targets) over *all* micro-batches and ranks, so 8 × 1 and 2 × 4
    are the same step; a mean of means is not. What experts add to it is the mean over packs of each pack's auxiliary
    losses: where rows compete and balance is asked for is inside a pack.

    Args:
        model: forward of a ``PackedBatch`` gives logits, targets and positions; replicated on every rank or
            spread over them (``parallel.parallelise``).
        batches: this rank's micro-batches.
        clip: largest global gradient norm.
    """
    device = next(model.parameters()).device
    counts = [(b.num_targets, b.tokens_T.numel(), b.tiles_NCHW.shape[0], b.num_samples, 1) for b in batches]
    totals = _over_ranks(torch.tensor(counts, dtype=torch.float64, device=device).sum(0))
    targets, tokens, tiles, samples, packs = (int(count) for count in totals)

    losses, routings = [], []
    by_category_K2 = torch.zeros(len(CATEGORIES), 2, dtype=torch.float64, device=device)
    for batch in batches:
        output = model(moved := batch.to(device))
        sums = loss_sums(output, moved, z_loss)
        objective = sums.objective / max(1, targets)
        for routing in output.routing:
            objective = objective + routing.objective / packs
        objective.backward()
        routings.append(output.routing)
        losses.append(sums.cross_entropy)
        by_category_K2 += sums.by_category_K2
    reduce_gradients(optimizer.parameters)
    grad_norm = clip_gradients(optimizer.parameters, clip)
    loss = float(_over_ranks(torch.stack(losses).double().sum())) / max(1, targets)

    skipped, suspects = "", []
    if targets == 0:
        skipped = "no token of it is trained on"
    elif not math.isfinite(loss) or not math.isfinite(grad_norm):
        skipped = f"loss {loss}, gradient norm {grad_norm}"
        suspects = [batch for batch, value in zip(batches, losses, strict=True) if not value.isfinite()]
    if not skipped:
        optimizer.step()
    optimizer.zero_grad()
    return StepReport(
        loss=loss,
        grad_norm=grad_norm,
        tokens=tokens,
        targets=targets,
        tiles=tiles,
        samples=samples,
        categories={
            str(category): total / count
            for category, (total, count) in zip(CATEGORIES, _over_ranks(by_category_K2).tolist(), strict=True)
            if count
        },
        routing=told(_over_ranks(gathered(routings, packs)), routings[0]),
        skipped=skipped,
        suspects=tuple(key for batch in suspects or batches for key in batch.keys) if skipped else (),
    )


def _over_ranks(values: Tensor) -> Tensor:
    """The sum over the ranks that took other packs, where there are ranks."""
    if has_ranks():
        dist.all_reduce(values, group=data_group())
    return values
