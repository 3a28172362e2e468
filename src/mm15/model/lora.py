"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685), put on and taken off a model from outside.

A linear layer W with an adapter gives W x + (alpha / rank) · up(down(x)), with ``down`` [rank, inputs] random and
``up`` [outputs, rank] zero at the start, so that nothing changes before the first step. Merged it is one matrix again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mm15.base.errors import ConfigError
from mm15.base.torch_rng import torch_rng
from mm15.model.experts import Experts
from mm15.model.layers import Linear

CHILD = "lora"
"""Name of an adapter below its layer."""


class Adapter(nn.Module):
    """down and up, and how to take the pair off again."""

    def __init__(self, layer: Linear, rank: int, alpha: float) -> None:
        super().__init__()
        inputs = layer.weight.shape[1]
        self.scale = alpha / rank
        self.down = Linear(inputs, rank, bias=False)
        self.up = Linear(rank, layer.parts, bias=False)
        self.to(layer.weight.device)
        self.hook: Any = layer.register_forward_hook(_add)

    def start(self, seed: int, name: str) -> None:
        """PEFT's and Microsoft's start: down uniform in ±1/√inputs, up zero."""
        generator = torch_rng(seed, "lora", name, device=str(self.down.weight.device))
        bound = 1 / math.sqrt(self.down.weight.shape[1])
        with torch.no_grad():
            self.down.weight.uniform_(-bound, bound, generator=generator)
            self.up.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x)) * self.scale


def _add(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    adapter: Adapter = getattr(layer, CHILD)
    return output + adapter(arguments[0])


def attach(model: nn.Module, targets: Sequence[str], rank: int, alpha: float, seed: int) -> list[str]:
    """Give every linear layer that a target names an adapter; their names. On the meta device none is started.

    Args:
        targets: starts of module names (``decoder``) or patterns with ``*`` (``decoder.blocks.*.attention.*``).

    Raises:
        ConfigError: a target that names no linear layer, or experts: one matrix per expert has no adapter here.
    """
    problems, chosen = [], dict[str, Linear]()
    modules = [(name, module) for name, module in model.named_modules() if name]
    for target in targets:
        named = [(name, module) for name, module in modules if _fits(name, target)]
        linear = {name: module for name, module in named if isinstance(module, Linear)}
        if experts := [name for name, module in named if isinstance(module, Experts)]:
            problems.append(
                f"lora.targets: '{target}' takes in experts, which have no adapters: {', '.join(experts[:4])}; name "
                "the layers beside them, such as decoder.blocks.*.attention.*"
            )
        if not linear:
            parts = ", ".join(sorted({name.split(".")[0] for name, _ in modules}))
            problems.append(f"lora.targets: '{target}' names no linear layer; parts: {parts}; patterns take *")
        chosen |= linear
    if problems:
        raise ConfigError(problems, "lora")
    for name, layer in chosen.items():
        adapter = Adapter(layer, rank, alpha)
        layer.add_module(CHILD, adapter)
        if not layer.weight.is_meta:
            adapter.start(seed, name)
    return list(chosen)


def _fits(name: str, target: str) -> bool:
    return name == target or name.startswith(f"{target}.") or fnmatchcase(name, target)


def adapters(model: nn.Module) -> Iterator[tuple[str, Linear, Adapter]]:
    """(name of the layer, layer, adapter) of every adapter."""
    for name, module in model.named_modules():
        if isinstance(module, Linear) and isinstance(adapter := getattr(module, CHILD, None), Adapter):
            yield name, module, adapter


def peft_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The adapters under PEFT's names: ``base_model.model.<layer>.lora_A.weight`` and ``….lora_B.weight``."""
    return {
        f"base_model.model.{name}.{key}.weight": matrix.weight.detach().cpu().contiguous()
        for name, _, adapter in adapters(model)
        for key, matrix in (("lora_A", adapter.down), ("lora_B", adapter.up))
    }


def merge(model: nn.Module) -> None:
    """Add every adapter to the weight of its layer and take it off; outputs stay the same to rounding."""
    for _, layer, adapter in list(adapters(model)):
        with torch.no_grad():
            layer.weight.add_(adapter.up.weight @ adapter.down.weight, alpha=adapter.scale)
        adapter.hook.remove()
        delattr(layer, CHILD)
