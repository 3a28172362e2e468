"""Many small networks at once: rows sorted by expert go through gate, up and down of their own expert.

Legend: T rows, K choices of a row, N (row, expert) pairs that are worked on, sorted by expert, E experts, D width,
F inner width.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.layers import Leaf


class Experts(Leaf):
    """The same matrices of all experts, [E, sum(parts), inputs]. ``parts`` and ``gain`` as in ``layers.Linear``."""

    def __init__(self, experts: int, inputs: int, parts: Sequence[int], gain: float = 1.0) -> None:
        super().__init__()
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
    mixed = _mix_grouped if _groups_on(x_TD, down) else _mix_looped
    return mixed(x_TD, gates_N, plan, gate_up, down)


def _groups_on(x_TD: Tensor, down: Tensor) -> bool:
    """Whether torch's grouped product serves this device and these widths (rows of whole 16 bytes)."""
    if x_TD.device.type != "cuda" or torch.cuda.get_device_capability(x_TD.device) < (8, 0):
        return False
    return all(size * x_TD.element_size() % 16 == 0 for size in down.shape[1:])


def _mix_grouped(x_TD: Tensor, gates_N: Tensor, plan: Dispatch, gate_up: Tensor, down: Tensor) -> Tensor:
    """On torch's grouped matrix product: no step waits for the counts."""
    offsets_E, dtype = plan.ends_E.int(), x_TD.dtype
    inner = F.grouped_mm(x_TD[plan.row_N], gate_up.to(dtype).transpose(1, 2), offs=offsets_E)
    gate, up = inner.chunk(2, dim=-1)
    # The gate scales the inner row, not the outer one: the same product, and nothing of the outer one is kept.
    y_ND = F.grouped_mm(F.silu(gate) * up * gates_N[:, None], down.to(dtype).transpose(1, 2), offs=offsets_E)
    return _gathered(y_ND, plan)


def _gathered(y_ND: Tensor, plan: Dispatch) -> Tensor:
    """The sum of each row's pairs, [T, D]."""
    if plan.dropped:
        y_ND = F.pad(y_ND, (0, 0, 0, 1))
    return y_ND.index_select(0, plan.slot_KT.flatten()).view(*plan.slot_KT.shape, y_ND.shape[1]).sum(0)


def _mix_looped(x_TD: Tensor, gates_N: Tensor, plan: Dispatch, gate_up: Tensor, down: Tensor) -> Tensor:
    out: Tensor = _Looped.apply(x_TD, gates_N, gate_up, down, plan)  # type: ignore[assignment]
    return out


class _Looped(torch.autograd.Function):
    """Expert by expert, for CPUs, where the grouped product of torch is a loop of small products too.

    A thread takes an expert through all its products while its weights are in the cache, and gradients of weights are
    written where they belong; autograd would build, pad and add up one tensor of all experts per expert. Weights of
    another dtype are cast one expert at a time.
    """

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, gates_N: Tensor, gate_up: Tensor, down: Tensor, plan: Dispatch) -> Tensor:
        inner_N2F = x_TD.new_empty(len(plan.row_N), gate_up.shape[1])
        y_ND = x_TD.new_empty(len(plan.row_N), x_TD.shape[1])

        def forward_one(expert: int, rows: slice) -> None:
            x = x_TD.index_select(0, plan.row_N[rows])
            torch.mm(x, gate_up[expert].to(x.dtype).t(), out=inner_N2F[rows])
            gate, up = inner_N2F[rows].chunk(2, dim=-1)
            acted = F.silu(gate).mul_(up).mul_(gates_N[rows, None])
            torch.mm(acted, down[expert].to(x.dtype).t(), out=y_ND[rows])

        _each(plan.ends_E, forward_one)
        ctx.save_for_backward(x_TD, gates_N, gate_up, down, inner_N2F)
        ctx.plan = plan
        return _gathered(y_ND, plan)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        x_TD, gates_N, gate_up, down, inner_N2F = ctx.saved_tensors
        plan: Dispatch = ctx.plan
        grad_gates_N = torch.empty_like(gates_N)
        grad_gate_up, grad_down = torch.empty_like(gate_up), torch.empty_like(down)
        grad_x_ND = x_TD.new_empty(len(plan.row_N), x_TD.shape[1])

        def backward_one(expert: int, rows: slice) -> None:
            index = plan.row_N[rows]
            x, grad_y = x_TD.index_select(0, index), grads[0].index_select(0, index)
            gate, up = inner_N2F[rows].chunk(2, dim=-1)
            share = torch.sigmoid(gate)
            silu = gate * share
            acted = silu * up
            grad_acted = grad_y @ down[expert].to(x.dtype)
            torch.sum(grad_acted * acted, dim=1, out=grad_gates_N[rows])
            weight_N1 = gates_N[rows, None]
            _put_product(grad_y.t(), acted.mul_(weight_N1), grad_down[expert])
            grad_acted.mul_(weight_N1)
            grad_inner = torch.empty_like(inner_N2F[rows])
            grad_gate, grad_up = grad_inner.chunk(2, dim=-1)
            torch.mul(grad_acted, silu, out=grad_up)
            # d silu = σ (1 + gate (1 − σ)) = σ + silu − silu σ
            slope = torch.addcmul(share + silu, silu, share, value=-1)
            torch.mul(grad_acted.mul_(up), slope, out=grad_gate)
            _put_product(grad_inner.t(), x, grad_gate_up[expert])
            torch.mm(grad_inner, gate_up[expert].to(x.dtype), out=grad_x_ND[rows])

        idle = _each(plan.ends_E, backward_one)
        for expert in idle:
            grad_gate_up[expert].zero_()
            grad_down[expert].zero_()
        return _gathered(grad_x_ND, plan), grad_gates_N, grad_gate_up, grad_down, None


def _put_product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """``out`` = left @ right, cast to its dtype."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _each(ends_E: Tensor, work: Callable[[int, slice], None]) -> list[int]:
    """Do the work of every expert that has rows; the experts that have none.

    Experts go to threads of one core each, the largest first: small products gain little from several cores. One with
    more than a thread's share of all rows is done before by all cores together.
    """
    ends = ends_E.tolist()
    starts = [0, *ends[:-1]]
    busy = sorted((e for e in range(len(ends)) if ends[e] > starts[e]), key=lambda e: starts[e] - ends[e])
    threads = torch.get_num_threads() if ends_E.device.type == "cpu" and ends[-1] * 2 > len(busy) * 4 else 1
    inference = torch.is_inference_mode_enabled()

    def run(expert: int) -> None:
        # Grad mode belongs to a thread, and that of a new thread is on.
        with torch.inference_mode(inference), torch.no_grad():
            work(expert, slice(starts[expert], ends[expert]))

    while busy and (threads == 1 or (ends[busy[0]] - starts[busy[0]]) * threads > ends[-1]):
        run(busy.pop(0))
    if busy:
        list(_pool(threads).map(run, busy))
    return [e for e in range(len(ends)) if ends[e] == starts[e]]


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose products use one core. Made once per process: a forked child has no threads of its parent."""
    key = (os.getpid(), threads)
    if key not in _pools:
        started = threading.Barrier(threads)

        def start() -> None:
            torch.set_num_threads(1)
            started.wait()

        _pools[key] = pool = ThreadPoolExecutor(threads, "experts", start)
        list(pool.map(lambda _: None, range(threads)))
        # Every thread keeps this number for itself, but the last one set is also what threads made later begin with.
        torch.set_num_threads(threads)
    return _pools[key]
