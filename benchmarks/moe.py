"""Mixture of experts, 64 experts, top-2: our layer beside transformers' grouped_mm, and beside a dense layer.

The dense layer has the active FLOPs of the experts: the same input goes through twice the inner width. All sides hold
equal weights and equal routing, are checked equal first (outputs and gradients), and run interleaved: forward and
backward of the expert part, gradients of the weights included. ``balanced``: random logits; ``skewed``: expert e is
chosen as by a Zipf law. The figures are ratios of medians.

    python benchmarks/moe.py [--threads 2] [--rounds 7] [--tokens 1024 4096] [--dtypes fp32 bf16]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

from mm15.base.memory import keep_freed_memory
from mm15.base.torch_rng import torch_rng
from mm15.model.experts import dispatch, mix

EXPERTS, TOP_K, WIDTH, INNER = 64, 2, 512, 1408
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def routing(tokens: int, skewed: bool) -> tuple[Tensor, Tensor]:
    """Gates and experts [T, K]."""
    generator = torch_rng(0, "routing", tokens, skewed)
    logits_TE = -torch.log(-torch.log(torch.rand(tokens, EXPERTS, generator=generator)))  # Gumbel: draws by chance
    if skewed:
        logits_TE = logits_TE - torch.arange(1, EXPERTS + 1).log()
    chances_TK, expert_TK = logits_TE.softmax(-1).topk(TOP_K)
    return chances_TK / chances_TK.sum(-1, keepdim=True), expert_TK


def sides(tokens: int, skewed: bool, dtype: torch.dtype) -> tuple[dict[str, Callable[[], None]], dict[str, Tensor]]:
    """What each side does in a round, and what both sides of the check leave behind."""
    generator = torch_rng(0, "weights")
    x_TD = torch.randn(tokens, WIDTH, generator=generator).to(dtype).requires_grad_()
    grad_TD = torch.randn(tokens, WIDTH, generator=generator).to(dtype)
    gates_TK, expert_TK = routing(tokens, skewed)
    gates_TK = gates_TK.to(dtype)
    gate_up = (torch.randn(EXPERTS, 2 * INNER, WIDTH, generator=generator) * WIDTH**-0.5).to(dtype).requires_grad_()
    down = (torch.randn(EXPERTS, WIDTH, INNER, generator=generator) * INNER**-0.5).to(dtype).requires_grad_()

    config = Qwen3MoeConfig(
        hidden_size=WIDTH, moe_intermediate_size=INNER, num_experts=EXPERTS, num_experts_per_tok=TOP_K
    )
    config._experts_implementation = "grouped_mm"
    theirs: Any = Qwen3MoeExperts(config).to(dtype)
    with torch.no_grad():
        theirs.gate_up_proj.copy_(gate_up)
        theirs.down_proj.copy_(down)

    dense_in = (torch.randn(2 * TOP_K * INNER, WIDTH, generator=generator) * WIDTH**-0.5).to(dtype).requires_grad_()
    dense_out = (torch.randn(WIDTH, TOP_K * INNER, generator=generator) * INNER**-0.5).to(dtype).requires_grad_()
    left: dict[str, Tensor] = {}

    def run_ours() -> None:
        gate_up.grad = down.grad = x_TD.grad = None
        out = mix(x_TD, gates_TK, dispatch(expert_TK, EXPERTS, None), gate_up, down)
        out.backward(grad_TD)
        left["mm15"] = torch.cat([t.detach().flatten() for t in (out, x_TD.grad, gate_up.grad[0], down.grad[5])])  # type: ignore[index, union-attr]

    def run_theirs() -> None:
        theirs.zero_grad()
        x_TD.grad = None
        out = theirs(x_TD, expert_TK, gates_TK)
        out.backward(grad_TD)
        grads = (theirs.gate_up_proj.grad[0], theirs.down_proj.grad[5])
        left["transformers"] = torch.cat([t.detach().flatten() for t in (out, x_TD.grad, *grads)])  # type: ignore[union-attr]

    def run_dense() -> None:
        dense_in.grad = dense_out.grad = x_TD.grad = None
        gate, up = F.linear(x_TD, dense_in).chunk(2, dim=-1)
        F.linear(F.silu(gate) * up, dense_out).backward(grad_TD)

    return {"mm15": run_ours, "transformers grouped_mm": run_theirs, "dense, equal active FLOPs": run_dense}, left


def compare(tokens: int, skewed: bool, name: str, rounds: int) -> None:
    dtype = DTYPES[name]
    runs, left = sides(tokens, skewed, dtype)
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    difference = 0.0
    for round_ in range(rounds + 1):
        for side, run in runs.items():
            began = time.perf_counter()
            run()
            if round_:  # the first round warms up
                seconds[side].append(time.perf_counter() - began)
        if not round_:
            difference = float(
                (left["mm15"] - left["transformers"]).float().norm() / left["transformers"].float().norm()
            )
            assert difference < (1e-5 if dtype == torch.float32 else 2e-2), f"the sides differ by {difference}"
    base = statistics.median(seconds["mm15"])
    print(f"{name}, {tokens} tokens, {'skewed' if skewed else 'balanced'}: relative difference {difference:.1e}")
    for side, values in seconds.items():
        middle = statistics.median(values)
        spread = f"{min(values) * 1e3:,.0f} to {max(values) * 1e3:,.0f}"
        print(
            f"  {side:<26} {middle * 1e3:>7,.0f} ms ({spread})   {middle / base:.2f}x of ours   n={len(values)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # for all sides alike, as in training
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    for name in arguments.dtypes:
        for tokens in arguments.tokens:
            for skewed in (False, True):
                compare(tokens, skewed, name, arguments.rounds)


if __name__ == "__main__":
    main()
