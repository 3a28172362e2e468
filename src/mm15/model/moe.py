"""Mixture of experts: each row goes to the few experts that a router picks for it.

Top-2 routing of GShard (arXiv 2006.16668) and ST-MoE (arXiv 2202.08906), as MM1 and MM1.5 use it.

Legend: T rows, K choices of a row, E experts, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.experts import Dispatch, Experts, dispatch, mix
from mm15.model.layers import Leaf
from mm15.model.sizes import DecoderConfig

ROUTER_STD = 0.02


class Routing(NamedTuple):
    """How one layer dealt out the rows of a pass. All but ``objective`` are fp32 and detached."""

    layer: int
    objective: Tensor
    """Scalar with gradient: the weighted auxiliary losses, means over rows, to be added to a mean loss."""
    balance: Tensor
    """E · Σ_e f_e · P_e: 1 where experts are chosen equally often, E where all rows go to one."""
    z: Tensor
    """Mean over rows of log²Σexp of the router's logits."""
    load_E: Tensor
    """How often each expert was chosen, before any choice was dropped."""
    entropy: Tensor
    """Mean over rows of the entropy of the router's probabilities, in nats; at most ln E."""
    dropped: Tensor
    """Share of the choices that found their expert full."""


class Router(Leaf):
    """Logits of the experts, in fp32 whatever the dtype of the rows. A small normal start: near-equal chances."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, width))

    def start(self, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, ROUTER_STD, generator=generator)

    def forward(self, x_TD: Tensor) -> Tensor:
        return F.linear(x_TD.float(), self.weight.float())


class MoE(nn.Module):
    """Experts in place of a feed-forward network.

    The group whose rows compete for the places of an expert is the pass: all rows of a pack (of the last block: those
    that something is read from). With a capacity factor, what is dropped so depends on the pack a sample is in; without
    one, or without gradients, no sample sees its neighbours.
    """

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        assert config.moe is not None
        self.config, self.layer = config.moe, layer
        experts, inner = config.moe.experts, config.moe.mlp_width or config.mlp_width
        self.router = Router(config.width, experts)
        self.gate_up = Experts(experts, config.moe.top_k, config.width, (inner, inner))
        self.down = Experts(experts, config.moe.top_k, inner, (config.width,), gain=(2 * config.layers) ** -0.5)

    def forward(self, x_TD: Tensor, routing: list[Routing] | None = None) -> Tensor:
        """[T, D] → [T, D]. ``routing`` grows by what this layer did."""
        experts, rows = self.config.experts, len(x_TD)
        logits_TE = self.router(x_TD)
        chances_TE = logits_TE.softmax(dim=-1)
        gates_TK, expert_TK = chances_TE.topk(self.config.top_k, dim=-1)
        if self.config.renormalise:
            gates_TK = gates_TK / gates_TK.sum(dim=-1, keepdim=True)
        capacity = None
        # What is not learned from is not dropped: evaluation and answers see every expert that a row asks for.
        if self.config.capacity is not None and torch.is_grad_enabled():
            capacity = max(1, int(rows * self.config.capacity / experts))
        plan = dispatch(expert_TK, experts, capacity)
        if routing is not None:
            routing.append(self._routing(logits_TE, chances_TE, expert_TK, plan.dropped))
        return self.work(x_TD, gates_TK, plan)

    def work(self, x_TD: Tensor, gates_TK: Tensor, plan: Dispatch) -> Tensor:
        """The experts' part of the pass; another takes its place where they are shared out over ranks."""
        return mix(x_TD, gates_TK, plan, self.gate_up.weight, self.down.weight)

    def _routing(self, logits_TE: Tensor, chances_TE: Tensor, expert_TK: Tensor, dropped: int) -> Routing:
        experts, rows = self.config.experts, max(1, len(logits_TE))
        # With two choices the first counts (GShard), with more all do: the first of many says little about the load.
        counted = expert_TK[:, :1] if self.config.top_k <= 2 else expert_TK
        share_E = _counts(counted, experts) / max(1, counted.numel())
        balance = experts * (share_E * chances_TE.sum(0) / rows).sum()
        log_sum_T = logits_TE.logsumexp(dim=-1)
        z = log_sum_T.square().sum() / rows
        with torch.no_grad():
            entropy = (log_sum_T - (chances_TE * logits_TE).sum(-1)).sum() / rows
        return Routing(
            layer=self.layer,
            objective=self.config.balance_loss * balance + self.config.z_loss * z,
            balance=balance.detach(),
            z=z.detach(),
            load_E=_counts(expert_TK, experts),
            entropy=entropy,
            dropped=torch.tensor(dropped / max(1, expert_TK.numel()), device=logits_TE.device),
        )


def _counts(expert_TK: Tensor, experts: int) -> Tensor:
    """How often each expert occurs, fp32 [E]."""
    flat = expert_TK.reshape(-1)
    ones = torch.ones(flat.shape, device=flat.device)
    return torch.zeros(experts, device=flat.device).index_add_(0, flat, ones)
