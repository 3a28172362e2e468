"""Weights laid out for decoding on a CPU, where reading them is nearly all of the time a token takes.

A matrix with few rows of input is as fast as memory delivers its bytes. ``pack`` orders weights the way the kernel
reads them; ``quantise`` stores a byte per weight and a scale per output row (absolute maximum, symmetric), and leaves
activations as they are. ``prepare`` is what users choose from. Routers of experts stay in fp32 everywhere; experts keep
their layout when the rest is packed, and have no int8.

Legend: I inputs, O outputs, T positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.base.errors import ConfigError
from mm15.model.experts import Experts
from mm15.model.layers import Linear
from mm15.model.moe import Router
from mm15.model.multimodal import MultimodalModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

FEW_ROWS, SOME_ROWS = 2, 64
"""Up to so many positions each of ``Int8Linear``'s ways is the fastest."""


class PackedLinear(nn.Module):
    """y = x Wᵀ + b on a CPU, W in oneDNN's own order. For inference in the dtype it was made for; no parameters."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.checksum = checksum(weight_OI)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach().to(dtype).contiguous(), 1)
        self.bias_O = None if bias_O is None else bias_O.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias_O, "none", [], "")


class Int8Linear(nn.Module):
    """y = x (scale · Wq)ᵀ + b: whole numbers from -127 to 127, one scale per output row. For inference on a CPU.

    Inputs are not cut down: one or two rows go through a kernel that widens the weights on the way; up to ``SOME_ROWS``
    are written as whole numbers of 15 bits (bf16 has 8), as two rows of bytes each, whose products are exact; more pay
    for widening the weights once.
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.checksum = checksum(weight_OI)
        self.weight_OI, scale_O1 = to_int8(weight_OI.detach())
        self.wide_scale_O = scale_O1[:, 0]
        self.scale_O = self.wide_scale_O.to(dtype)
        self.bias_O = None if bias_O is None else bias_O.detach().to(dtype)
        self.packed: Tensor | None = None
        if torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported():
            self.zeros_O = torch.zeros(len(self.weight_OI), dtype=torch.int32)
            self.packed = torch.ops.onednn.qlinear_prepack(self.weight_OI, None)

    def forward(self, x: Tensor) -> Tensor:
        flat_TI = x.reshape(-1, x.shape[-1])
        if len(flat_TI) <= FEW_ROWS and x.dtype == torch.bfloat16:
            out_TO = torch.ops.aten._weight_int8pack_mm(flat_TI, self.weight_OI, self.scale_O)
        elif len(flat_TI) <= SOME_ROWS and self.packed is not None:
            out_TO = self._by_bytes(flat_TI.float()).to(x.dtype)
        else:
            out_TO = F.linear(flat_TI, self.weight_OI.to(x.dtype)) * self.scale_O
        if self.bias_O is not None:
            out_TO = out_TO + self.bias_O
        return out_TO.view(*x.shape[:-1], -1)

    def _by_bytes(self, x_TI: Tensor) -> Tensor:
        # x = step · (128 · high + low) with both in [-127, 127]; the kernel wants bytes without a sign, 128 being zero.
        step_T1 = x_TI.abs().amax(dim=1, keepdim=True).div_(127 * 128).clamp_min_(1e-30)
        whole_TI = (x_TI / step_T1).round_()
        high_TI = (whole_TI / 128).round_()
        bytes_TI = torch.cat([high_TI, whole_TI.sub_(high_TI, alpha=128)]).add_(128).to(torch.uint8)
        out_TO = torch.ops.onednn.qlinear_pointwise(
            bytes_TI,
            1.0,
            128,
            self.packed,
            self.wide_scale_O,
            self.zeros_O,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        high_TO, low_TO = out_TO.chunk(2)
        return low_TO.add_(high_TO, alpha=128).mul_(step_T1)


def to_int8(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers [O, I] from -127 to 127 and the scale [O, 1] in fp32 that gives the weights back.

    The error of a weight is at most half a scale; a row of zeros stays one.
    """
    weight_OI = weight_OI.float()
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True) / 127
    scale_O1 = torch.where(scale_O1 > 0, scale_O1, 1.0)
    return (weight_OI / scale_O1).round().to(torch.int8), scale_O1


def checksum(weight_OI: Tensor) -> float:
    """The sum of all weights, in fp64: what is left to tell one model from another when the weights are laid out."""
    return float(weight_OI.detach().double().sum())


def prepare(model: MultimodalModel, dtype: str | None = None, kind: str | None = None) -> None:
    """Make a model ready to answer, in place, as a user asks for it.

    Args:
        dtype: "fp32" or "bf16", of weights and activations. None changes nothing: parameters as they were kept, fp32
            activations. On a CPU "bf16" also packs the matrices (where torch has oneDNN), since a model that was
            rounded is no longer what it was anyway; fp32 is never packed here: packed products are summed in another
            order, and fp32 answers stay what they were, token for token.
        kind: "int8" for int8 weights (see ``quantise``), with activations in bf16.

    Raises:
        ConfigError: another dtype or kind, int8 with fp32, or int8 where ``quantise`` refuses.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError([f"unknown dtype '{dtype}'; there are: {', '.join(DTYPES)}"], "dtype")
    if kind is not None:
        if dtype == "fp32":
            raise ConfigError([f"{kind} weights compute in bf16, and fp32 was asked for; leave the dtype out"], "dtype")
        try:
            quantise(model, kind)
        except ValueError as error:
            raise ConfigError([str(error)], kind) from None
    elif dtype is not None:
        set_dtype(model, DTYPES[dtype])
        if dtype == "bf16" and _device(model).type == "cpu" and torch.backends.mkldnn.is_available():
            pack(model)


def pack(model: MultimodalModel) -> None:
    """Lay the decoder's matrices out for decoding on a CPU, in place. Afterwards the model can only answer.

    Raises:
        ValueError: the model is not on a CPU or was laid out before, or this build of torch has no oneDNN.
    """
    _check(model, "packed weights")
    if not torch.backends.mkldnn.is_available():
        raise ValueError("packed weights need a build of torch with oneDNN, and this one has none")
    _swap(model, PackedLinear, model.compute_dtype)
    model.layout = "packed"


def quantise(model: MultimodalModel, kind: str = "int8") -> None:
    """Store the decoder's matrices as int8, in place, and compute in bf16. Afterwards the model can only answer.

    Word embeddings that also are the head are kept twice: rows are looked up in bf16, the head reads int8. The vision
    encoder and the connector are not quantised: they compute more than they read.

    Raises:
        ValueError: another kind than "int8", a model that is not on a CPU or was laid out before, or one with experts:
            most of its weights would stay as they are.
    """
    if kind != "int8":
        raise ValueError(f"unknown quantisation '{kind}'; there is: int8")
    _check(model, "int8 weights")
    if experts := [name for name, module in model.named_modules() if isinstance(module, Experts)]:
        raise ValueError(
            f"experts have no int8 weights, and this model has them ({', '.join(experts)}); use dtype bf16"
        )
    _swap(model, Int8Linear, torch.bfloat16)
    set_dtype(model, torch.bfloat16)
    model.layout = kind


def set_dtype(model: MultimodalModel, dtype: torch.dtype) -> None:
    """Parameters and activations in this dtype, in place; routers in fp32, because rounding one flips choices."""
    routers = [module for module in model.modules() if isinstance(module, Router)]
    exact = [router.weight.detach().float() for router in routers]
    model.to(dtype)
    for router, weight in zip(routers, exact, strict=True):
        router.weight = nn.Parameter(weight, requires_grad=router.weight.requires_grad)
    model.compute_dtype = dtype


def _device(model: MultimodalModel) -> torch.device:
    return model.decoder.embedding.weight.device


def _check(model: MultimodalModel, what: str) -> None:
    if model.layout:
        raise ValueError(f"{what} are made from plain ones, and this model has {model.layout} ones; load it again")
    device = _device(model)
    if device.type != "cpu":
        raise ValueError(f"{what} are read by CPU kernels, and the model lies on {device}; use device cpu")


def _swap(model: MultimodalModel, made: type[PackedLinear] | type[Int8Linear], dtype: torch.dtype) -> None:
    decoder = model.decoder
    if decoder.untied_head is None:
        setattr(decoder, "untied_head", made(decoder.embedding.weight, None, dtype))  # noqa: B010  (it is no Linear)
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                setattr(parent, name, made(child.weight, child.bias, dtype))
    model.requires_grad_(False)
