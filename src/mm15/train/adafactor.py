"""AdaFactor: a mean of squares per row and per column instead of one per weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from mm15.train.parallel_tensor import local
from mm15.train.sharded import part_for, whole


class AdaFactor(torch.optim.Optimizer):
    """AdaFactor (Shazeer & Stern, 1804.04235) with the rate given from outside.

    No relative step and no parameter scaling, which ``torch.optim.Adafactor`` cannot switch off. Matrices keep a mean
    of squares per row and per column, everything else a full one; both with β2(t) = 1 − t^−0.8 (section 7.2). The
    update is divided by max(1, RMS / clip_rms) (section 6); ``momentum`` averages updates (β1), None keeps no average.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float | None = None,
        clip_rms: float = 1.0,
        eps: float = 1e-30,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "clip_rms": clip_rms, "eps": eps}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            if parameter.ndim in (2, 3):
                # Whole on every rank, where the matrix itself is shared out: they are small.
                *matrices, rows, columns = grad.shape
                state["row"] = torch.zeros(*matrices, rows, 1, dtype=grad.dtype, device=grad.device)
                state["col"] = torch.zeros(*matrices, 1, columns, dtype=grad.dtype, device=grad.device)
            else:
                state["square"] = torch.zeros_like(grad)
            if group["momentum"] is not None:
                state["average"] = torch.zeros_like(grad)
        state["step"] += 1
        fresh = float(state["step"]) ** -0.8
        if isinstance(grad, DTensor):
            self._move_sharded(parameter, grad, state, fresh, group)
            return
        # Three axes: the same matrix of many experts, each of which is moved as if it stood alone.
        names = [name for name in state if name != "step"]
        pieces = range(len(parameter)) if parameter.ndim == 3 else (...,)
        for piece in pieces:
            self._move_one(parameter[piece], grad[piece], {name: state[name][piece] for name in names}, fresh, group)

    def _move_sharded(
        self, parameter: Tensor, grad: DTensor, state: Mapping[str, Tensor], fresh: float, group: Mapping[str, Any]
    ) -> None:
        """The same of a parameter that is shared out: its means are those of the whole.

        Sums are DTensors, everything else is done on this rank's part by itself: an axis of fewer rows than ranks is
        cut too, and there DTensor's own broadcasting would gather what it cannot write back.
        """
        square = grad.square().add_(group["eps"])
        axes = (1, 2) if grad.ndim == 3 else tuple(range(grad.ndim))
        count = math.prod(grad.shape[axis] for axis in axes)
        mine, here = grad.to_local(), local(parameter)
        if grad.ndim in (2, 3):
            row, col = state["row"], state["col"]
            row.lerp_(whole(square.sum(dim=-1, keepdim=True)) / grad.shape[-1], fresh)
            col.lerp_(whole(square.sum(dim=-2, keepdim=True)) / grad.shape[-2], fresh)
            scale = (row / row.mean(dim=-2, keepdim=True)).rsqrt()
            update = mine * part_for(scale, grad) * part_for(col.rsqrt(), grad)
        else:
            full = local(state["square"]).lerp_(local(square), fresh)
            update = mine * full.rsqrt()
        squares = DTensor.from_local(
            update.square(), grad.device_mesh, grad.placements, run_check=False, shape=grad.shape, stride=grad.stride()
        )
        rms = (whole(squares.sum(dim=axes, keepdim=True)) / count).sqrt()
        update /= part_for((rms / group["clip_rms"]).clamp(min=1.0), grad)
        if group["momentum"] is not None:
            update = local(state["average"]).lerp_(update, 1 - group["momentum"])
        here.mul_(1 - group["lr"] * group["weight_decay"])
        here.add_(update, alpha=-group["lr"])

    def _move_one(
        self, parameter: Tensor, grad: Tensor, state: Mapping[str, Tensor], fresh: float, group: Mapping[str, Any]
    ) -> None:
        square = grad.square().add_(group["eps"])
        if parameter.ndim == 2:
            row, col = state["row"], state["col"]
            row.lerp_(square.mean(dim=1, keepdim=True), fresh)
            col.lerp_(square.mean(dim=0, keepdim=True), fresh)
            update = grad * (row / row.mean()).rsqrt() * col.rsqrt()
        else:
            state["square"].lerp_(square, fresh)
            update = grad * state["square"].rsqrt()
        rms = update.square().mean().sqrt()
        update /= (rms / group["clip_rms"]).clamp(min=1.0)
        if group["momentum"] is not None:
            update = state["average"].lerp_(update, 1 - group["momentum"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])
