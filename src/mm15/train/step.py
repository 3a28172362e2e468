"""One optimizer step: summed over all micro-batches and ranks, divided once by their targets, checked before it counts.

Legend: K categories, R sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mm15.base.batch import PackedBatch
from mm15.dist.ranks import data_group, has_ranks
from mm15.train.gradients import clip_gradients, reduce_gradients
from mm15.train.loss import CATEGORIES, loss_sums
from mm15.train.optim import OptimizerSet
from mm15.train.parts import StepClock
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
    sources: dict[str, float] = field(default_factory=dict)
    """Loss per source that occurred, of those that are told apart."""
    flops: int = 0
    """Of forward and backward, as ``work.StepWork`` counts them; 0 where nobody counts."""
    routing: tuple[dict[str, float], ...] = ()
    """What the experts of each layer were given; ``routing.told`` says what is told."""
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds by part (``parts.PARTS``), mean over ranks; empty where nobody measures."""
    skipped: str = ""
    """Why weights and optimizer were left unchanged; empty after a proper step."""
    suspects: tuple[str, ...] = ()
    """Of a skipped step: keys of the samples in micro-batches with a NaN or Inf loss, on any rank; else of all."""


def train_step(
    model: nn.Module,
    optimizer: OptimizerSet,
    batches: Sequence[PackedBatch],
    clip: float,
    z_loss: float = 0.0,
    sources: Sequence[str] = (),
    flops_of: Callable[[PackedBatch], int] | None = None,
    clock: StepClock | None = None,
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
        sources: names of the sources whose loss is told, the same on every rank.
        flops_of: counts the work of a micro-batch.
        clock: measures the parts of the step; on every rank or on none.
    """
    device = next(model.parameters()).device
    if clock:
        clock.start()
    counts = [(b.num_targets, b.tokens_T.numel(), b.tiles_NCHW.shape[0], b.num_samples, 1,
               flops_of(b) if flops_of else 0) for b in batches]  # fmt: skip
    totals = _over_ranks(torch.tensor(counts, dtype=torch.float64, device=device).sum(0))
    targets, tokens, tiles, samples, packs, flops = (int(count) for count in totals)

    losses, routings = [], []
    by_category_K2 = torch.zeros(len(CATEGORIES), 2, dtype=torch.float64, device=device)
    by_source_R2 = torch.zeros(len(sources), 2, dtype=torch.float64, device=device)
    for batch in batches:
        moved = batch.to(device)
        if clock:
            clock.lap("rest")
        output = model(moved)
        sums = loss_sums(output, moved, z_loss, sources)
        objective = sums.objective / max(1, targets)
        for routing in output.routing:
            objective = objective + routing.objective / packs
        if clock:
            clock.lap("head")
        objective.backward()
        if clock:
            clock.lap_back()
        routings.append(output.routing)
        losses.append(sums.cross_entropy)
        by_category_K2 += sums.by_category_K2
        by_source_R2 += sums.by_source_R2
    reduce_gradients(optimizer.parameters)
    if clock:
        clock.lap("rest")  # other ranks were waited for
    grad_norm = clip_gradients(optimizer.parameters, clip)
    loss = float(_over_ranks(torch.stack(losses).double().sum())) / max(1, targets)

    skipped = ""
    if targets == 0:
        skipped = "no token of it is trained on"
    elif not math.isfinite(loss) or not math.isfinite(grad_norm):
        skipped = f"loss {loss}, gradient norm {grad_norm}"
    if not skipped:
        optimizer.step()
    optimizer.zero_grad()
    if clock:
        clock.lap("optimizer")
    return StepReport(
        loss=loss,
        grad_norm=grad_norm,
        tokens=tokens,
        targets=targets,
        tiles=tiles,
        samples=samples,
        categories=_means(CATEGORIES, by_category_K2),
        sources=_means(sources, by_source_R2),
        flops=flops,
        routing=told(_over_ranks(gathered(routings, packs)), routings[0]),
        parts=clock.read() if clock else {},
        skipped=skipped,
        suspects=_suspects(batches, losses) if skipped else (),
    )


def _means(names: Sequence[str], sums_K2: Tensor) -> dict[str, float]:
    """Loss per target over all ranks, of those that occurred."""
    rows = _over_ranks(sums_K2).tolist() if names else []
    return {str(name): total / count for name, (total, count) in zip(names, rows, strict=True) if count}


def _suspects(batches: Sequence[PackedBatch], losses: Sequence[Tensor]) -> tuple[str, ...]:
    """Keys of the micro-batches of all ranks whose loss is NaN or Inf; of all of them where there is none.

    All ranks skip the same step, for what they judge by is summed over them: so all of them come here.
    """
    bad = [key for batch, loss in zip(batches, losses, strict=True) if not loss.isfinite() for key in batch.keys]
    mine = (bad, [key for batch in batches for key in batch.keys])
    told: list[tuple[list[str], list[str]]] = [mine]
    if has_ranks():
        told = [mine] * dist.get_world_size()
        dist.all_gather_object(told, mine)
    return tuple(key for keys, _ in told for key in keys) or tuple(key for _, keys in told for key in keys)


def _over_ranks(values: Tensor) -> Tensor:
    """The sum over the ranks that took other packs, where there are ranks."""
    if has_ranks():
        dist.all_reduce(values, group=data_group())
    return values
