"""Layers that keep fp32 (or any) parameters and compute in the dtype of their input.

Legend: T positions, H heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.base.torch_rng import torch_rng


class Leaf(nn.Module):
    """A module that owns parameters and knows how they start."""

    def start(self, generator: torch.Generator) -> None:
        """Fill the parameters in place."""
        raise NotImplementedError


def init_weights(module: nn.Module, seed: int) -> None:
    """Fill every parameter from (seed, module name): the order of construction and of calls does not matter."""
    with torch.no_grad():
        for name, leaf in module.named_modules():
            if isinstance(leaf, Leaf):
                device = next(leaf.parameters()).device
                leaf.start(torch_rng(seed, "init", name, device=str(device)))


class Linear(Leaf):
    """y = x Wᵀ + b, with W cast to the dtype of x.

    ``parts`` are the output widths of matrices fused into one product (q, k, v); an optimizer that treats matrices as
    wholes and a checkpoint reader split W's rows there. ``gain`` scales the start: W ~ N(0, gain² / inputs).
    """

    def __init__(self, inputs: int, parts: int | Sequence[int], bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.parts = (parts,) if isinstance(parts, int) else tuple(parts)
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(sum(self.parts), inputs))
        self.bias = nn.Parameter(torch.empty(sum(self.parts))) if bias else None

    def start(self, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, self.gain / math.sqrt(self.weight.shape[1]), generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class LayerNorm(Leaf):
    """Layer norm over the last axis."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def start(self, generator: torch.Generator) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class _RMSNorm(torch.autograd.Function):
    """The CPU has no fused kernel: this halves the passes over memory that autograd would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _inverse_rms(x, eps)
        normed = x * scale
        ctx.save_for_backward(normed, weight, scale)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, weight, scale = ctx.saved_tensors
        product = grads[0] * normed
        share = (product @ weight)[..., None] / -len(weight)
        return torch.addcmul(grads[0] * weight, normed, share) * scale, product.flatten(0, -2).sum(0), None


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return (norm.square() / x.shape[-1] + eps).rsqrt().to(x.dtype)


class RMSNorm(Leaf):
    """x / rms(x) · weight over the last axis; the mean square is taken in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(width))

    def start(self, generator: torch.Generator) -> None:
        self.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        # On the few rows of a decoding step overhead counts: fp32 stays with torch, bf16 makes no node of a graph.
        if x.device.type == "cpu" and torch.is_grad_enabled():
            return _RMSNorm.apply(x, weight, self.eps)
        if x.device.type == "cpu" and x.dtype != torch.float32:
            return x * _inverse_rms(x, self.eps) * weight
        return F.rms_norm(x, weight.shape, weight, self.eps)


class Table(Leaf):
    """Learned rows: position embeddings, class token, queries, word embeddings. Truncated normal start."""

    def __init__(self, rows: int, width: int, std: float = 0.02) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.empty(rows, width))

    def start(self, generator: torch.Generator) -> None:
        nn.init.trunc_normal_(self.weight, std=self.std, a=-2 * self.std, b=2 * self.std, generator=generator)


class GridTable(Table):
    """Learned position rows of a square grid that start as two-dimensional sines and cosines.

    An encoder trained from nothing on little data so begins with knowing which patches are neighbours (the fixed table
    of MoCo v3, arXiv 2104.02057, and MAE; here it goes on learning). Half of the channels tell the row, half the
    column; wavelengths go from 4 patches to 4 × the side of the grid. ``front`` rows before the grid (a class token)
    start as zeros.
    """

    def __init__(self, side: int, width: int, front: int = 0, std: float = 0.5) -> None:
        super().__init__(front + side**2, width, std)
        self.side, self.front = side, front

    def start(self, generator: torch.Generator) -> None:
        device, waves = self.weight.device, self.weight.shape[1] // 4
        turns_W = math.pi / 2 * self.side ** -torch.linspace(0, 1, waves, device=device)
        angles_SW = torch.arange(self.side, device=device)[:, None] * turns_W
        axis_SD = self.std * 2**0.5 * torch.cat([angles_SW.sin(), angles_SW.cos()], dim=1)
        rows_SSD = axis_SD[:, None].expand(-1, self.side, -1)
        grid_PD = torch.cat([rows_SSD, rows_SSD.transpose(0, 1)], dim=2).flatten(0, 1)
        self.weight.zero_()
        self.weight[self.front :, : grid_PD.shape[1]] = grid_PD


def activate(x: Tensor, activation: str) -> Tensor:
    """The encoder's non-linearity by name: the wrong GELU loses accuracy silently."""
    if activation == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


def roll_half(x: Tensor) -> Tensor:
    """The last axis rolled by half: what is aligned with rolled words is not aligned with itself."""
    return x.roll(x.shape[-1] // 2, -1)


class _Rotate(torch.autograd.Function):
    """x · cos + swapped halves of x · sin; the gradient turns back by the same angle."""

    @staticmethod
    def forward(ctx: Any, x_THD: Tensor, cos_T1D: Tensor, sin_T1D: Tensor) -> Tensor:
        ctx.save_for_backward(cos_T1D, sin_T1D)
        return _turn(x_THD, cos_T1D, sin_T1D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos_T1D, sin_T1D = ctx.saved_tensors
        return _turn(grads[0], cos_T1D, -sin_T1D), None, None


def _turn(x_THD: Tensor, cos_T1D: Tensor, sin_T1D: Tensor) -> Tensor:
    first, second = x_THD.chunk(2, dim=-1)
    return torch.addcmul(x_THD * cos_T1D, torch.cat([second, first], dim=-1), sin_T1D)


class Rotation:
    """Rotary position embedding (arXiv 2104.09864) in Llama's layout: component i turns with component i + D / 2.

    cos and sin of every position, built once and shared by all layers.

    Args:
        frequencies: radians per position of every pair, [D / 2], and the factor of cos and sin (``model/rope.py``).
    """

    def __init__(self, positions_T: Tensor, frequencies: tuple[Tensor, float], dtype: torch.dtype) -> None:
        radians, factor = frequencies
        angles_TD = positions_T.float()[:, None] * radians
        cos_TD, sin_TD = angles_TD.cos(), angles_TD.sin()
        if factor != 1.0:
            cos_TD, sin_TD = cos_TD * factor, sin_TD * factor
        self.cos_T1D = torch.cat([cos_TD, cos_TD], dim=-1).to(dtype)[:, None]
        self.sin_T1D = torch.cat([-sin_TD, sin_TD], dim=-1).to(dtype)[:, None]

    def __call__(self, x_THD: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _turn(x_THD, self.cos_T1D, self.sin_T1D)
        return _Rotate.apply(x_THD, self.cos_T1D, self.sin_T1D)
