"""Optimizers and the rate schedule: AdamW, AdaFactor, Muon over named parameters.

Legend: K matrices of one shape, A rows, B columns.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate

from mm15.base.catalogue import did_you_mean
from mm15.base.errors import ConfigError
from mm15.dist.ranks import place
from mm15.model.experts import Experts
from mm15.model.layers import Linear, Table
from mm15.model.moe import Router
from mm15.train.run_config import OptimizerConfig, ScheduleConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
STACK_LIMIT = 1 << 27
"""Most elements of one stack of matrices in Muon, a bound on its working memory."""


def mm1_rate(num_parameters: int) -> float:
    """Peak rate of MM1's law: exp(−0.4214 ln N − 0.5535), N = non-embedding parameters of the language model."""
    return math.exp(-0.4214 * math.log(num_parameters) - 0.5535)


def rate_factor(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """Factor on the peak rate for step number ``step`` (from 0) of ``steps``: a pure function, nothing to save."""
    warmup = schedule.warmup if schedule.warmup >= 1 else round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule.kind == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))


def is_hidden(model: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a weight between layers: at least two axes, and not a table or the head."""
    path = name.rpartition(".")[0]
    is_table = isinstance(model.get_submodule(path), Table | nn.Embedding)
    return parameter.ndim >= 2 and not is_table and not path.endswith("head")


def decoder_size(model: nn.Module) -> int:
    """N of MM1's law: hidden weights, norms and biases of the decoder (of the whole model where there is none).

    The sizes that the law was fitted on (85M, 302M) are 12·layers·width² of the language model alone. Experts count as
    one: MM1's mixtures of experts take the rate of their dense twin.
    """
    named = list(model.named_parameters())
    decoder = [(name, parameter) for name, parameter in named if name.startswith("decoder.")]
    routers = {module.weight for module in model.modules() if isinstance(module, Router)}
    experts = {module.weight for module in model.modules() if isinstance(module, Experts)}
    counted = [
        0 if parameter in routers else parameter.numel() // (len(parameter) if parameter in experts else 1)
        for name, parameter in decoder or named
        if parameter.ndim < 2 or is_hidden(model, name, parameter)
    ]
    return sum(counted)


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
        """The same of a parameter that is shared out: its means are those of the whole."""
        square = grad.square().add_(group["eps"])
        axes = tuple(range(grad.ndim)) if grad.ndim < 3 else (1, 2)
        count = math.prod(grad.shape[axis] for axis in axes)
        if grad.ndim in (2, 3):
            row, col = state["row"], state["col"]
            row.lerp_(_whole(square.sum(dim=-1, keepdim=True)) / grad.shape[-1], fresh)
            col.lerp_(_whole(square.sum(dim=-2, keepdim=True)) / grad.shape[-2], fresh)
            scale = (row / row.mean(dim=-2, keepdim=True)).rsqrt()
            update = grad * _on_all(scale, grad) * _on_all(col.rsqrt(), grad)
        else:
            state["square"].lerp_(square, fresh)
            update = grad * state["square"].rsqrt()
        rms = (_whole(update.square().sum(dim=axes, keepdim=True)) / count).sqrt()
        update /= _on_all((rms / group["clip_rms"]).clamp(min=1.0), grad)
        if group["momentum"] is not None:
            update = state["average"].lerp_(update, 1 - group["momentum"])
        # An axis of one row on many ranks: what met a whole tensor there came out whole.
        update = update.redistribute(placements=grad.placements)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])

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


class Muon(torch.optim.Optimizer):
    """Muon (K. Jordan, 2024) for matrices: Nesterov momentum, made nearly orthogonal.

    Scaled by 0.2·√max(A, B), which gives AdamW's usual update size, so that rates and decay tuned for AdamW carry over
    (Moonlight, 2502.16982, equation 4). The same update as ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, but
    matrices of one shape go through the Newton–Schulz iteration as one stack: many small products become few.
    ``parts`` gives the row counts of parameters that hold several matrices (a fused q, k, v); each is treated alone, as
    are those of the experts in a parameter of three axes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        parts: Mapping[nn.Parameter, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.parts = dict(parts or {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            directions = []
            for parameter in params:
                state = self.state[parameter]
                if not state:
                    state["average"] = torch.zeros_like(parameter)
                state["average"].lerp_(parameter.grad, 1 - group["momentum"])
                directions.append(parameter.grad.lerp(state["average"], group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            for start, end in _portions(params):
                self._turn(params[start:end], directions[start:end], group["lr"])

    def _turn(self, params: Sequence[nn.Parameter], directions: Sequence[Tensor], lr: float) -> None:
        """Move along the orthogonalised directions; those of parameters that are shared out are gathered first."""
        # In place, a matrix moves by itself; of a parameter that is shared out the whole move is made, and cut.
        moved = [torch.zeros(p.shape, device=p.device) if isinstance(p, DTensor) else p for p in params]
        stacks = self._stacks(params, moved, [_whole(direction) for direction in directions])
        updates = _dealt_out([torch.stack(moves) for _, moves in stacks])
        for (matrices, _), update_KAB in zip(stacks, updates, strict=True):
            scale = lr * 0.2 * math.sqrt(max(update_KAB.shape[1:]))
            for matrix, update in zip(matrices, update_KAB, strict=True):
                matrix.add_(update, alpha=-scale)
        for parameter, move in zip(params, moved, strict=True):
            if isinstance(parameter, DTensor):
                parameter.add_(_on_all(move, parameter))

    def _stacks(
        self, params: Sequence[nn.Parameter], moved: Sequence[Tensor], directions: Sequence[Tensor]
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """(matrices, directions) of one shape together, in stacks of at most ``STACK_LIMIT`` elements."""
        of_shape: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, target, direction in zip(params, moved, directions, strict=True):
            rows = self.parts.get(parameter, (parameter.shape[-2],))
            wholes = (target, direction) if parameter.ndim == 3 else (target[None], direction[None])
            for matrix, move in zip(*wholes, strict=True):
                for pair in zip(matrix.split(rows), move.split(rows), strict=True):
                    of_shape[pair[0].shape].append(pair)
        stacks = []
        for shape, pairs in of_shape.items():
            size = max(1, STACK_LIMIT // shape.numel())
            for start in range(0, len(pairs), size):
                matrices, moves = zip(*pairs[start : start + size], strict=True)
                stacks.append((list(matrices), list(moves)))
        return stacks


def _portions(params: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Where to cut a list so that shared-out parameters are whole in memory a few at a time; others go together."""
    if not any(isinstance(parameter, DTensor) for parameter in params):
        return [(0, len(params))]
    cuts, size = [0], 0
    for index, parameter in enumerate(params):
        if size and size + parameter.numel() > STACK_LIMIT:
            cuts.append(index)
            size = 0
        size += parameter.numel()
    return list(itertools.pairwise([*cuts, len(params)]))


def _whole(tensor: Tensor) -> Tensor:
    """A tensor that is shared out, gathered on every rank; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _on_all(tensor: Tensor, like: Tensor) -> DTensor:
    """A tensor that every rank has, on the mesh of another; where it meets one that is cut, it is cut alike."""
    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)


def _dealt_out(stacks: Sequence[Tensor]) -> list[Tensor]:
    """Every stack orthogonalised; several ranks do a part each, and all get the sum of the parts.

    What is added to a part is zeros: the result is the same to the bit as without ranks.
    """
    rank, world = place()
    if world == 1:
        return [orthogonalise(stack_KAB) for stack_KAB in stacks]
    load = [0] * world
    owners = {}
    for index in sorted(range(len(stacks)), key=lambda index: -stacks[index].numel() * min(stacks[index].shape[1:])):
        owners[index] = owner = load.index(min(load))
        load[owner] += stacks[index].numel() * min(stacks[index].shape[1:])
    parts = [
        orthogonalise(stack_KAB) if owners[index] == rank else torch.zeros_like(stack_KAB)
        for index, stack_KAB in enumerate(stacks)
    ]
    flat = torch.cat([part.flatten() for part in parts])
    dist.all_reduce(flat)
    sizes = [stack_KAB.numel() for stack_KAB in stacks]
    return [part.view_as(stack_KAB) for part, stack_KAB in zip(flat.split(sizes), stacks, strict=True)]


def orthogonalise(matrices_KAB: Tensor, dtype: torch.dtype | None = None, steps: int = 5) -> Tensor:
    """Each matrix with its singular values brought near 1 (about 0.7 to 1.2), by a quintic Newton–Schulz iteration.

    Args:
        matrices_KAB: a stack of matrices.
        dtype: of the products; default: bf16 where the device multiplies it natively, else fp32.
    """
    x = matrices_KAB.to(dtype or matmul_dtype(matrices_KAB.device))
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices_KAB.dtype)


def matmul_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device multiplies it natively (CUDA; CPUs with AVX512-BF16 or AMX), else fp32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


class OptimizerSet:
    """The optimizers of a run behind one face; state goes in and out by parameter name, as tensors only."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], names: Mapping[nn.Parameter, str]) -> None:
        self.optimizers = tuple(optimizers)
        self.names = dict(names)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that is trained, in the order of the model."""
        return list(self.names)

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def set_rate(self, factor: float) -> None:
        """Every group to its peak rate times ``factor``."""
        for group in itertools.chain.from_iterable(optimizer.param_groups for optimizer in self.optimizers):
            group["lr"] = group["peak"] * factor

    def state(self) -> dict[str, dict[str, Tensor]]:
        """parameter name → state name → tensor. Parameters that never had a gradient have none."""
        return {
            name: dict(optimizer.state[parameter])
            for optimizer in self.optimizers
            for parameter, name in self.names.items()
            if optimizer.state.get(parameter)
        }

    def load_state(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The inverse of ``state``; takes the tensors over.

        Raises:
            ValueError: a name that is not trained here.
        """
        unknown = sorted(set(states) - set(self.names.values()))
        if unknown:
            raise ValueError(f"optimizer state for parameters that are not trained here: {', '.join(unknown)}")
        for optimizer in self.optimizers:
            mine = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            optimizer.state.clear()
            for parameter in mine:
                if self.names[parameter] in states:
                    optimizer.state[parameter] = dict(states[self.names[parameter]])


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> OptimizerSet:
    """Optimizers for the model's parameters. Parts with rate 0 are frozen (``requires_grad`` off).

    Raises:
        ConfigError: an ``lr_scale`` name that starts no parameter's name, or nothing left to train.
    """
    named = dict(model.named_parameters())
    parts = sorted({name.split(".")[0] for name in named})
    problems = [
        f"lr_scale.{prefix}: no parameter starts with it{did_you_mean(prefix, parts)}; parts: {', '.join(parts)}"
        for prefix in config.lr_scale
        if not any(_starts(name, prefix) for name in named)
    ]
    lr = mm1_rate(decoder_size(model)) if config.lr == "mm1-law" else config.lr
    routers = {module.weight for module in model.modules() if isinstance(module, Router)}
    experts = {module.weight for module in model.modules() if isinstance(module, Experts)}
    groups: defaultdict[tuple[bool, bool, float, DeviceMesh | None], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in named.items():
        scale = _scale(name, config.lr_scale)
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            hidden = is_hidden(model, name, parameter)
            by_muon = config.kind == "muon" and hidden and (parameter in experts or parameter.ndim == 2)
            # A router chooses as a head does: each of its rows stands for one expert.
            # What lies on different meshes cannot go through one fused kernel.
            mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
            groups[by_muon and parameter not in routers, hidden, scale, mesh].append(parameter)
    if not groups and not problems:
        problems.append("lr_scale: every part is frozen, nothing is trained")
    if problems:
        raise ConfigError(problems, "optimizer")

    def settings(muon: bool) -> list[dict[str, Any]]:
        peak = (config.muon_lr or lr) if muon else lr
        return [
            {
                "params": params,
                "lr": peak * scale,
                "peak": peak * scale,
                "weight_decay": config.weight_decay if hidden else 0.0,
            }
            for (by_muon, hidden, scale, _), params in groups.items()
            if by_muon == muon
        ]

    optimizers: list[torch.optim.Optimizer] = []
    if muon_groups := settings(muon=True):
        momentum = 0.95 if config.momentum is None else config.momentum
        fused = {module.weight: module.parts for module in model.modules() if isinstance(module, Linear | Experts)}
        optimizers.append(Muon(muon_groups, lr=lr, momentum=momentum, parts=fused))
    if other_groups := settings(muon=False):
        if config.kind == "adafactor":
            optimizers.append(AdaFactor(other_groups, lr=lr, momentum=config.momentum))
        else:
            optimizers.append(torch.optim.AdamW(other_groups, lr=lr, betas=config.betas, eps=config.eps, fused=True))
    return OptimizerSet(optimizers, {parameter: name for name, parameter in named.items() if parameter.requires_grad})


def _starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _scale(name: str, scales: Mapping[str, float]) -> float:
    """The factor of the longest prefix that fits, else 1."""
    fitting = [prefix for prefix in scales if _starts(name, prefix)]
    return scales[max(fitting, key=len)] if fitting else 1.0
