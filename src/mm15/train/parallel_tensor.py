"""Tensor parallelism of the decoder: ranks share its heads and the inner width of its feed-forward networks.

A rank holds whole heads: of the fused q, k, v its rows lie in three places, so the fused matrix is split into its parts
(``qkv.part0`` … ), each cut by rows. Outputs of the second matrix are summed over ranks (Megatron-LM, arXiv 1909.08053).
What is not shared out (embedding, head, norms, routers and experts) computes the same on all of them.

Legend: T positions, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor

from mm15.model.decoder import Attention, SwiGLU
from mm15.model.layers import Linear, RMSNorm
from mm15.model.multimodal import MultimodalModel


def share_heads(model: MultimodalModel, mesh: DeviceMesh) -> None:
    """Share out the decoder's attention and feed-forward networks over the ranks of a mesh of one axis, in place."""
    ranks, decoder = mesh.size(), model.decoder
    for module in list(decoder.modules()):
        if isinstance(module, Attention):
            module.qkv = ByColumns(module.qkv, mesh)
            module.out = ByRows(module.out, mesh)
            module.heads //= ranks
            module.kv_heads //= ranks
            # A norm of each head sees the heads of this rank alone: its gradient is a part of a sum.
            module.q_norm, module.k_norm = (
                None if norm is None else PartialNorm(norm, mesh) for norm in (module.q_norm, module.k_norm)
            )
        elif isinstance(module, SwiGLU):
            module.gate_up = ByColumns(module.gate_up, mesh)
            module.down = ByRows(module.down, mesh)
    heads, kv_heads = decoder.config.heads // ranks, decoder.config.kv_heads // ranks
    decoder.config = decoder.config.model_copy(update={"heads": heads, "kv_heads": kv_heads})


class ByColumns(nn.Module):
    """Outputs shared out: of every part of a fused layer this rank has its share. The input's gradient is summed."""

    def __init__(self, whole: Linear, mesh: DeviceMesh) -> None:
        super().__init__()
        self.group = mesh.get_group()
        biases = [None] * len(whole.parts) if whole.bias is None else whole.bias.split(whole.parts)
        self.names = [f"part{index}" for index in range(len(whole.parts))]
        for name, weight, bias in zip(self.names, whole.weight.split(whole.parts), biases, strict=True):
            part = Linear(0, 0, bias=False)
            part.parts = (len(weight),)
            part.weight = _cut(weight, mesh, Shard(0))
            part.bias = None if bias is None else _cut(bias, mesh, Shard(0))
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(name) for name in self.names]
        weight = torch.cat([local(part.weight) for part in parts]).to(x.dtype)
        has_bias = parts[0].bias is not None
        bias = torch.cat([local(part.bias) for part in parts]).to(x.dtype) if has_bias else None
        return F.linear(_Copy.apply(x, self.group), weight, bias)


class ByRows(nn.Module):
    """Inputs shared out: outputs are summed over ranks, then the bias is added once."""

    def __init__(self, whole: Linear, mesh: DeviceMesh) -> None:
        super().__init__()
        self.group = mesh.get_group()
        self.parts = whole.parts
        self.weight = _cut(whole.weight, mesh, Shard(1))
        self.bias = None if whole.bias is None else _cut(whole.bias, mesh, Replicate())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Sum.apply(F.linear(x, local(self.weight).to(x.dtype)), self.group)  # type: ignore[assignment]
        return out if self.bias is None else out + local(self.bias).to(x.dtype)


class PartialNorm(RMSNorm):
    """A norm that every rank applies to rows of its own: the weight's gradient is summed over ranks."""

    def __init__(self, norm: RMSNorm, mesh: DeviceMesh) -> None:
        super().__init__(len(norm.weight), norm.eps)
        self.group = mesh.get_group()
        self.weight = norm.weight

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = _Copy.apply(self.weight, self.group)  # type: ignore[assignment]
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), self.eps)


def local(parameter: Any) -> Tensor:
    """This rank's part of a parameter."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _cut(weight: Tensor, mesh: DeviceMesh, placement: Placement) -> nn.Parameter:
    assert not isinstance(placement, Partial)
    # Every rank has the whole already: nothing travels.
    shared = distribute_tensor(weight.detach().contiguous(), mesh, [placement], src_data_rank=None)
    return nn.Parameter(shared, requires_grad=weight.requires_grad)


class _Copy(torch.autograd.Function):
    """The same on all ranks; gradients are summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


class _Sum(torch.autograd.Function):
    """The sum over ranks; the gradient goes to every rank as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
