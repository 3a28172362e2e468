"""Parameters that are shared out over ranks: gathered whole, met by what every rank has, written as if never shared."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard

from mm15.dist.ranks import is_first
from mm15.model.moe import Router
from mm15.model.multimodal import MultimodalModel
from mm15.train.crossing import PART, fused_name


def whole(tensor: Tensor) -> Tensor:
    """A tensor that is shared out, gathered on every rank; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def on_all(tensor: Tensor, like: Tensor) -> DTensor:
    """A tensor that every rank has, on the mesh of another; where it meets one that is cut, it is cut alike."""
    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)


def place_of(tensor: Tensor) -> list[slice]:
    """Which part of the whole this rank holds, axis by axis; it may be empty."""
    place = [slice(0, size) for size in tensor.shape]
    if not isinstance(tensor, DTensor):
        return place
    # Where two axes of the mesh cut one axis of the tensor, FSDP came last and marked its cut by a class of its own.
    for by_fsdp in (False, True):
        for axis, placement in enumerate(tensor.placements):
            if placement.is_replicate() or isinstance(placement, Shard) == by_fsdp:
                continue
            cut: int = placement.dim  # type: ignore[attr-defined]
            here, mesh = place[cut], tensor.device_mesh
            step = -(-(here.stop - here.start) // mesh.size(axis))
            start = min(here.start + step * mesh.get_local_rank(axis), here.stop)
            place[cut] = slice(start, min(start + step, here.stop))
    return place


def part_for(tensor: Tensor, like: DTensor) -> Tensor:
    """Of a tensor that every rank has, what meets this rank's part of another; axes of one row meet all."""
    place = [here if size > 1 else slice(None) for here, size in zip(place_of(like), tensor.shape, strict=True)]
    return tensor[tuple(place)]


def is_shared_out(model: nn.Module) -> bool:
    """Whether any parameter lies on several ranks in parts."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


@torch.no_grad()
def full_weights(model: nn.Module, keep: Callable[[str, Tensor], Tensor | None] | None = None) -> dict[str, Tensor]:
    """The state dict that the model has on one rank, on the CPU of the first rank; empty on the others.

    Every rank must call it. Tensor by tensor, so that beside its part a rank holds one whole tensor at a time. What
    tensor parallelism has split (``qkv.part0`` …) becomes one matrix again.

    Args:
        keep: what this rank keeps of a tensor instead, by its name on one rank; None: nothing.
    """
    found: dict[str, Tensor] = {}
    parts: defaultdict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, tensor in model.state_dict().items():
        gathered, fused = whole(tensor).detach(), fused_name(name)
        kept = keep(fused, gathered) if keep else gathered.to("cpu", copy=True) if is_first() else None
        if kept is None:
            continue
        if match := PART.search(name):
            parts[fused][int(match[1])] = kept
        else:
            found[name] = kept
    return found | {name: torch.cat([pieces[i] for i in sorted(pieces)]) for name, pieces in parts.items()}


def whole_model(empty: MultimodalModel, model: nn.Module) -> MultimodalModel:
    """A shared-out model put together on every rank, to answer with: a copy in the dtype that it computes in, 2 bytes a
    parameter in bf16. Routers decide in fp32 and stay so. Every rank must call it.

    Args:
        empty: the same model on the meta device, from before it was shared out; left as it is.
    """
    made = copy.deepcopy(empty)
    made.compute_dtype = dtype = getattr(model, "compute_dtype", empty.compute_dtype)
    exact = {f"{name}.weight" for name, module in made.named_modules() if isinstance(module, Router)}
    state = full_weights(model, lambda name, tensor: tensor if name in exact else tensor.to(dtype))
    made.load_state_dict(state, assign=True)
    return made.eval()
