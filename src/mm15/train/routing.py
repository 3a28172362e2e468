"""What the experts of a model were given in a step, as numbers for the log.

Legend: M layers with experts, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mm15.model.moe import Routing

SCALARS = ("entropy", "dropped", "balance", "z")


def gathered(routings: Sequence[Sequence[Routing]], packs: int) -> Tensor:
    """fp64 [M, E + 4]: choices of every expert summed over this rank's packs, and the shares of means over all packs.

    Sums over ranks are those of the step. Empty where no layer has experts.

    Args:
        routings: of every pack of this rank the layers with experts.
        packs: of the step, over all ranks.
    """
    if not routings[0]:
        return torch.zeros(0, dtype=torch.float64)
    rows = []
    for layers in zip(*routings, strict=True):
        load_E = torch.stack([routing.load_E for routing in layers]).double().sum(0)
        scalars = [sum(getattr(routing, name).double() for routing in layers) / packs for name in SCALARS]
        rows.append(torch.cat([load_E, torch.stack(scalars)]))  # type: ignore[arg-type]
    return torch.stack(rows)


def told(gathered_ME4: Tensor, layers: Sequence[Routing]) -> tuple[dict[str, float], ...]:
    """One entry per layer with experts.

    ``load_max`` and ``load_min``: the choices of the most and the least wanted expert over those of an even share.
    ``idle``: experts that nobody chose. ``entropy`` of a row's probabilities in nats, ``dropped`` share of choices, and
    the two auxiliary losses before their weights, ``balance`` (1: even) and ``z``: means over packs.
    """
    entries = []
    for row, routing in zip(gathered_ME4.tolist(), layers, strict=True):
        load = row[: -len(SCALARS)]
        even = max(1.0, sum(load)) / len(load)
        entries.append(
            {
                "layer": routing.layer,
                "load_max": max(load) / even,
                "load_min": min(load) / even,
                "idle": load.count(0),
                **dict(zip(SCALARS, row[-len(SCALARS) :], strict=True)),
            }
        )
    return tuple(entries)
