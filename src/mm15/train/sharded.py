"""Parameters that are shared out over ranks: gathered whole, met by what every rank has, written as if never shared."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard

from mm15.dist.ranks import is_first
from mm15.train.crossing import PART


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
def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict that the model has on one rank, on the CPU of the first rank; empty on the others.

    Every rank must call it. Tensor by tensor, so that beside its part a rank holds one whole tensor at a time. What
    tensor parallelism has split (``qkv.part0`` …) becomes one matrix again.
    """
    found: dict[str, Tensor] = {}
    parts: defaultdict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, tensor in model.state_dict().items():
        gathered = whole(tensor)
        if not is_first():
            continue
        kept = gathered.detach().to("cpu", copy=True)
        if match := PART.search(name):
            parts[name[: match.start()] + "." + match[2]][int(match[1])] = kept
        else:
            found[name] = kept
    return found | {name: torch.cat([pieces[i] for i in sorted(pieces)]) for name, pieces in parts.items()}
