"""Where a model's first weights come from, tensor by tensor: no rank ever holds the whole of a shared-out model.

A model on the meta device has shapes and no memory. It is spread over ranks as it is, and each rank then reads what its
part needs. On the CPU of a rank lie, beside its own part, one tensor's part where weights come from a bundle, and one
layer's matrix where they are made from the seed: for the 31.4 billion parameters of 30b on 8 ranks 15.7 GB and a matrix
of the largest layer in each, in place of 126 GB in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from mm15.base.torch_rng import torch_rng
from mm15.interop.files import SavedTensors
from mm15.model.layers import Leaf
from mm15.model.lora import Adapter
from mm15.model.multimodal import MultimodalModel
from mm15.model.resize import TABLES
from mm15.model.vit import resize_positions
from mm15.train.parallel_tensor import ByColumns, local
from mm15.train.sharded import place_of


class Weights(Protocol):
    """The weights of a model, under the names they have on one rank."""

    def read(self, name: str, place: Sequence[slice]) -> Tensor:
        """A part of a tensor, on the CPU: as ``tensor[place]``."""
        ...


class FreshWeights:
    """Weights as ``MultimodalModel.init_weights(seed)`` and ``lora.attach(…, seed)`` make them, bit for bit.

    Every layer starts from a generator of its own, so one can be made without the others. The layer read last is kept
    for its next tensor.

    Args:
        model: on the meta device and not spread; it is copied.
    """

    def __init__(self, model: MultimodalModel, seed: int) -> None:
        self._model, self._seed = deepcopy(model), seed
        self._name, self._layer = "", nn.Module()

    def read(self, name: str, place: Sequence[slice]) -> Tensor:
        path, _, key = name.rpartition(".")
        parent = self._model.get_submodule(path.rpartition(".")[0])
        # An adapter starts as a whole, from the name of its layer.
        owner = path.rpartition(".")[0] if isinstance(parent, Adapter) else path
        if owner != self._name:
            self._layer.to_empty(device="meta")
            self._name, self._layer = owner, self._model.get_submodule(owner)
            self._start()
        return self._model.get_submodule(path).get_parameter(key).detach()[tuple(place)]

    @torch.no_grad()
    def _start(self) -> None:
        if isinstance(self._layer, Adapter):
            self._layer.to_empty(device="cpu")
            self._layer.start(self._seed, self._name.rpartition(".")[0])
            return
        assert isinstance(self._layer, Leaf)
        self._layer.to_empty(device="cpu", recurse=False)  # not its adapter
        self._layer.start(torch_rng(self._seed, "init", self._name))


class SavedWeights:
    """Weights of a bundle, cut out of the file in fp32, for tiles of the model's size; what it lacks is made new.

    Args:
        folder: of ``model.safetensors``, or of its shards and index; checked already (``bundle.load_bundle``).
        grids: patches along one side of a tile, in the bundle and in the model: position tables are resized.
        rest: gives adapters, which no bundle holds.
    """

    def __init__(self, folder: Path, grids: tuple[int, int], rest: Weights) -> None:
        self._saved, self._grids, self._rest = SavedTensors(folder), grids, rest

    def read(self, name: str, place: Sequence[slice]) -> Tensor:
        if name not in self._saved.shapes:
            return self._rest.read(name, place)
        if name in TABLES and self._grids[0] != self._grids[1]:
            return resize_positions(self._saved.read(name).float(), *self._grids)[tuple(place)]
        return self._saved.read_part(name, place).float()


@torch.no_grad()
def fill(model: nn.Module, weights: Weights, device: torch.device) -> None:
    """Give memory to a model that was spread over ranks (or not) on the meta device, and every rank its part of it.

    Ranks read for themselves: nothing travels. Parameters alone are filled: a ``MultimodalModel`` has no buffers.

    Raises:
        ValueError: a parameter is in memory already, or there are buffers, which would come out empty.
    """
    strange = [name for name, tensor in model.named_parameters() if not tensor.is_meta]
    strange += [name for name, _ in model.named_buffers()]
    if strange:
        raise ValueError(f"only parameters without memory can be filled, not {', '.join(strange[:4])}")
    model.to_empty(device=device)
    for name, parameter in model.named_parameters():
        whole_name, first_row = _origin(model, name)
        place = place_of(parameter)
        place[0] = slice(place[0].start + first_row, place[0].stop + first_row)
        part = local(parameter)
        if part.numel():
            part.copy_(weights.read(whole_name, place))


def _origin(model: nn.Module, name: str) -> tuple[str, int]:
    """The name on one rank of a parameter, and its first row there: tensor parallelism splits fused matrices."""
    path, _, key = name.rpartition(".")
    above, _, part = path.rpartition(".")
    fused = model.get_submodule(above)
    if not isinstance(fused, ByColumns):
        return name, 0
    before = fused.names[: fused.names.index(part)]
    return f"{above}.{key}", sum(len(fused.get_submodule(other).get_parameter("weight")) for other in before)
