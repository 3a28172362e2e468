"""Gradients of replicated and sharded parameters: summed over ranks, and clipped by one norm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from mm15.dist.ranks import data_group, has_ranks, layout


def reduce_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum over ranks what is not summed yet.

    FSDP sums where it makes gradients. Replicated parameters are summed here over all ranks with other packs, and so
    are those shared out by ``tensor`` alone; experts shared out alone over the ranks that hold the same ones.
    """
    if not has_ranks():
        return
    groups: defaultdict[dist.ProcessGroup | None, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        names = parameter.device_mesh.mesh_dim_names or () if isinstance(parameter, DTensor) else ()
        mesh = layout()
        if names == ("experts",) and mesh is not None:
            for axis in ("replicas", "shards"):
                groups[mesh[axis].get_group()].append(parameter)
        elif not names or names == ("tensor",):
            groups[data_group()].append(parameter)
    for group, members in groups.items():
        if dist.get_world_size(group) > 1:
            _sum(members, group)


def _sum(parameters: Sequence[nn.Parameter], group: dist.ProcessGroup | None) -> None:
    for parameter in parameters:
        # A rank without an image has no gradient for the encoder, yet must take part.
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [_local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat, group=group)
    parts = flat.split([grad.numel() for grad in grads])
    for parameter, grad, part in zip(parameters, grads, parts, strict=True):
        if isinstance(parameter.grad, DTensor):
            grad.copy_(part.view_as(grad))
        else:
            parameter.grad = part.view_as(grad)


def clip_gradients(parameters: Sequence[nn.Parameter], clip: float) -> float:
    """Scale all gradients so that their global norm is at most ``clip``; the norm before.

    Unlike ``torch.nn.utils.clip_grad_norm_`` it takes parameters of different meshes, and replicated ones beside them.
    """
    sharded = [grad for parameter in parameters if isinstance(grad := parameter.grad, DTensor)]
    if not sharded:
        return float(torch.nn.utils.clip_grad_norm_(parameters, clip))
    plain = [g for parameter in parameters if (g := parameter.grad) is not None and not isinstance(g, DTensor)]
    alike: defaultdict[tuple[DeviceMesh, tuple[int, ...]], list[Tensor]] = defaultdict(list)
    for grad in sharded:
        cut = tuple(axis for axis, placement in enumerate(grad.placements) if not placement.is_replicate())
        alike[grad.device_mesh, cut].append(grad.to_local())
    total = _square(plain, sharded[0].to_local())
    # Ranks meet group by group, in the order of the parameters, which is the same on all.
    for (mesh, cut), grads in alike.items():
        square = _square(grads, sharded[0].to_local())
        for axis in cut:
            dist.all_reduce(square, group=mesh.get_group(axis))
        total += square
    norm = total.sqrt()
    factor = (clip / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([*plain, *(grad.to_local() for grad in sharded)], factor)
    return float(norm)


def _square(grads: Sequence[Tensor], like: Tensor) -> Tensor:
    if not grads:
        return torch.zeros((), device=like.device)
    return torch.stack(torch._foreach_norm(list(grads))).square().sum()


def _local(grad: Tensor) -> Tensor:
    return grad.to_local() if isinstance(grad, DTensor) else grad
