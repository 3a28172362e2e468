"""Many small networks at once: rows sorted by expert go through gate, up and down of their own expert.

Legend: T rows, K choices of a row, N (row, expert) pairs that are worked on, sorted by expert, E experts, D width,
F inner width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.layers import Leaf


class Experts(Leaf):
    """The same matrices of all experts, [E, sum(parts), inputs], of which a row meets ``top_k``.

    ``parts`` and ``gain`` as in ``layers.Linear``.
    """

    def __init__(self, experts: int, top_k: int, inputs: int, parts: Sequence[int], gain: float = 1.0) -> None:
        super().__init__()
        self.top_k = top_k
        self.parts = tuple(parts)
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(experts, sum(self.parts), inputs))

    def start(self, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, self.gain / math.sqrt(self.weight.shape[2]), generator=generator)


class Dispatch(NamedTuple):
    """Which row goes to which expert, sorted by expert; inside an expert first choices come first, in row order."""

    pair_N: Tensor
    """Index into the K x T choices, first choices of all rows first."""
    row_N: Tensor
    ends_E: Tensor
    """Where the pairs of each expert end."""
    slot_KT: Tensor
    """The place of every choice among the N pairs; N for one that was dropped."""
    dropped: int


def dispatch(expert_TK: Tensor, experts: int, capacity: int | None) -> Dispatch:
    """Sort choices by expert. With a capacity each expert takes so many, first choices before second ones.

    Second choices queue behind the first choices that were kept (GShard, arXiv 2006.16668): where first choices fill an
    expert nothing else gets in, so a place in the whole queue decides.
    """
    rows, device = expert_TK.shape[0], expert_TK.device
    expert_KT = expert_TK.t().reshape(-1)
    sorted_N, pair_N = expert_KT.sort(stable=True)
    ends_E = torch.searchsorted(sorted_N, torch.arange(experts, device=device), right=True)
    dropped = 0
    if capacity is not None:
        counts_E = ends_E.diff(prepend=ends_E.new_zeros(1))
        place_N = torch.arange(len(pair_N), device=device) - (ends_E - counts_E)[sorted_N]
        pair_N = pair_N[place_N < capacity]
        ends_E = counts_E.clamp(max=capacity).cumsum(0)
        dropped = len(expert_KT) - len(pair_N)
    slot_KT = torch.full_like(expert_KT, len(pair_N))
    slot_KT[pair_N] = torch.arange(len(pair_N), device=device)
    return Dispatch(pair_N, pair_N % max(1, rows), ends_E, slot_KT.view(expert_TK.shape[1], rows), dropped)


def mix(x_TD: Tensor, gates_TK: Tensor, plan: Dispatch, gate_up: Tensor, down: Tensor) -> Tensor:
    """Σ_k gate_k · down_k(SiLU(gate_k x) · up_k x) over the choices that were not dropped, [T, D].

    Args:
        gates_TK: of the choices that ``plan`` was made from.
        gate_up: [E, 2 F, D], rows of the gate first.
        down: [E, D, F].
    """
    gates_N = gates_TK.t().reshape(-1)[plan.pair_N].to(x_TD.dtype)
    product = _grouped_product if groups_on(x_TD, down) else _looped_product
    gate, up = product(x_TD.index_select(0, plan.row_N), gate_up, plan.ends_E).chunk(2, dim=-1)
    # The gate scales the inner row, not the outer one: the same product, and nothing of the outer one is kept.
    y_ND = product(F.silu(gate) * up * gates_N[:, None], down, plan.ends_E)
    if plan.dropped:
        y_ND = F.pad(y_ND, (0, 0, 0, 1))
    return y_ND.index_select(0, plan.slot_KT.flatten()).view(*plan.slot_KT.shape, y_ND.shape[1]).sum(0)


def groups_on(x_TD: Tensor, down: Tensor) -> bool:
    """Whether torch's grouped product serves this device and these widths (rows of whole 16 bytes).

    On CPUs it is a loop of products; where weights are cast first, a loop that casts them one by one has less to move.
    """
    if any(size * x_TD.element_size() % 16 for size in down.shape[1:]):
        return False
    if x_TD.device.type == "cuda":
        return torch.cuda.get_device_capability(x_TD.device) >= (8, 0)
    return x_TD.device.type == "cpu" and x_TD.dtype == down.dtype


def _grouped_product(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Rows times the transposed matrix of their expert, [N, O]; nothing waits for the counts."""
    return F.grouped_mm(x_NI, weight_EOI.to(x_NI.dtype).transpose(1, 2), offs=ends_E.int())


def _looped_product(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    out: Tensor = _Product.apply(x_NI, weight_EOI, ends_E)  # type: ignore[assignment]
    return out


class _Product(torch.autograd.Function):
    """``_grouped_product`` expert by expert, for any device, dtype and width.

    Gradients of weights are written where they belong; autograd would make one tensor of all experts per expert.
    Weights of another dtype are cast one expert at a time.
    """

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
        out_NO = x_NI.new_empty(len(x_NI), weight_EOI.shape[1])

        def one(expert: int, rows: slice) -> None:
            torch.mm(x_NI[rows], weight_EOI[expert].to(x_NI.dtype).t(), out=out_NO[rows])

        _each(ends_E, one)
        ctx.save_for_backward(x_NI, weight_EOI, ends_E)
        return out_NO

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x_NI, weight_EOI, ends_E = ctx.saved_tensors
        grad_NO = grads[0].contiguous()
        grad_x_NI, grad_weight_EOI = torch.empty_like(x_NI), torch.empty_like(weight_EOI)

        def one(expert: int, rows: slice) -> None:
            _put_product(grad_NO[rows].t(), x_NI[rows], grad_weight_EOI[expert])
            torch.mm(grad_NO[rows], weight_EOI[expert].to(x_NI.dtype), out=grad_x_NI[rows])

        for expert in _each(ends_E, one):
            grad_weight_EOI[expert].zero_()
        return grad_x_NI, grad_weight_EOI, None


def _put_product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """``out`` = left @ right, cast to its dtype."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _each(ends_E: Tensor, work: Callable[[int, slice], None]) -> list[int]:
    """Do the work of every expert that has rows; the experts that have none."""
    ends = ends_E.tolist()
    starts = [0, *ends[:-1]]
    idle = [expert for expert, (start, end) in enumerate(zip(starts, ends, strict=True)) if start == end]
    for expert, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if start < end:
            work(expert, slice(start, end))
    return idle
