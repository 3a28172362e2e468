"""Expert parallelism: ranks share out the experts of a layer, and rows travel to the rank of their expert and back.

Which rows an expert gets, and what it drops, is decided by each rank for its own pack, as without ranks.

Legend: T rows, K choices, N (row, expert) pairs sorted by expert, G pairs that came from all ranks, E experts, R ranks,
L = E / R experts of a rank, D width, F inner width.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from mm15.model.experts import Dispatch, mix
from mm15.model.moe import MoE
from mm15.train.parallel_tensor import local


def share_experts(model: nn.Module, mesh: DeviceMesh) -> None:
    """Share out the experts of every layer over the ranks of a mesh of one axis, in place."""
    for module in model.modules():
        if isinstance(module, MoE):
            for experts in (module.gate_up, module.down):
                whole = experts.weight
                shared = distribute_tensor(whole.detach(), mesh, [Shard(0)], src_data_rank=None)
                experts.weight = nn.Parameter(shared, requires_grad=whole.requires_grad)
            module.work = partial(_work, module, mesh.get_group())  # type: ignore[method-assign]


def _work(moe: MoE, group: dist.ProcessGroup, x_TD: Tensor, gates_TK: Tensor, plan: Dispatch) -> Tensor:
    """``MoE.work`` with the experts of this rank for the rows of all ranks, [T, D]."""
    ranks = dist.get_world_size(group)
    counts_E = plan.ends_E.diff(prepend=plan.ends_E.new_zeros(1))
    asked_RL = torch.empty_like(counts_E)
    dist.all_to_all_single(asked_RL, counts_E.contiguous(), group=group)
    asked_RL = asked_RL.view(ranks, -1)
    out, into = counts_E.view(ranks, -1).sum(1).tolist(), asked_RL.sum(1).tolist()

    rows_GD = all_to_all_single_autograd(x_TD.index_select(0, plan.row_N), into, out, group)
    # By rank, inside a rank by expert, they came; by expert they are worked on, one choice per row, gates at home.
    num_experts = asked_RL.shape[1]
    expert_G = torch.arange(num_experts, device=x_TD.device).repeat(ranks).repeat_interleave(asked_RL.flatten())
    order_G = expert_G.argsort(stable=True)
    here = Dispatch(order_G, order_G, asked_RL.sum(0).cumsum(0), order_G.argsort()[None], 0)
    ones_G1 = rows_GD.new_ones(len(rows_GD), 1)
    worked_GD = mix(rows_GD, ones_G1, here, local(moe.gate_up.weight), local(moe.down.weight))

    back_ND = all_to_all_single_autograd(worked_GD.contiguous(), out, into, group)
    back_ND = back_ND * gates_TK.t().reshape(-1)[plan.pair_N].to(x_TD.dtype)[:, None]
    if plan.dropped:
        back_ND = F.pad(back_ND, (0, 0, 0, 1))
    return back_ND.index_select(0, plan.slot_KT.flatten()).view(*plan.slot_KT.shape, x_TD.shape[1]).sum(0)
