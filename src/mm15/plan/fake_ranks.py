"""A dry run: one rank of many takes one real step, without memory, without the others, without the device.

Tensors are fake (shapes without contents), collective calls go to torch's fake process group, and everything else is
the code of training: the model is built, spread over ranks by ``parallelise``, and ``train_step`` runs forward,
backward and the optimizer. What is alive at any moment is added up, storage by storage.

Where contents decide shapes, the dry run decides: labels and picture positions are as many as the pack is said to
have, no expert drops a row, every rank of an expert group gets as many rows, and tiles are even already. Attention
takes the path of a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._functional_collectives import AsyncCollectiveTensor, all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from mm15.base.batch import PackedBatch
from mm15.base.errors import ConfigError
from mm15.dist.ranks import has_ranks, lay_out
from mm15.model import attention
from mm15.model.experts import Dispatch, mix
from mm15.model.flops import on_meta
from mm15.model.moe import MoE
from mm15.model.sizes import ModelConfig
from mm15.plan.hardware import cluster_of
from mm15.plan.planning import LargestPack, model_of
from mm15.train.optim import build_optimizer
from mm15.train.parallel import build_mesh, parallelise
from mm15.train.parallel_tensor import local
from mm15.train.recipe import load_recipe
from mm15.train.run_config import TrainConfig
from mm15.train.step import train_step

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Pack:
    """What the pack of a dry run holds."""

    tokens: int
    tiles: int
    targets: int
    samples: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """Bytes of one rank over one step."""

    world: int
    parameters: int
    gradients: int
    """Where the optimizer begins."""
    optimizer: int
    peak: int
    """Most that was alive at once, all of the above included."""
    operations: int
    """How many calls into torch's kernels the step made."""

    @property
    def text(self) -> str:
        """One line."""
        told = {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "peak": self.peak,
        }
        sizes = ", ".join(f"{name} {size / 2**30:.2f}" for name, size in told.items())
        return f"dry run    one step of rank 0 of {self.world}, {self.operations:,} operations: {sizes} GiB"


class _Watched(TorchDispatchMode):
    """Answers what only contents could, and adds up the storages that are alive."""

    def __init__(self, found: list[int]) -> None:
        super().__init__()
        self.found = found
        """How many rows the next questions "where is it true?" find."""
        self.alive = self.peak = self.operations = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor | AsyncCollectiveTensor) for kind in types):
            return NotImplemented  # it takes itself apart first, and its parts come here
        self.operations += 1
        if func is aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1
        if func is aten.nonzero.default:
            result = torch.empty(self.found.pop(0), args[0].ndim, dtype=torch.long)
        elif func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1]):
            result = torch.empty_like(args[0])
        else:
            result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.note(tensor.untyped_storage())
        return result

    def note(self, storage: torch.UntypedStorage) -> None:
        """A storage that may be new, or has another size."""
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            weakref.finalize(storage, self._gone, key)
        self.alive += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self.alive)

    def _gone(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)


def dry_run_of(recipe: str | Path, hardware: str, largest: LargestPack, changes: Sequence[str] = ()) -> DryRun:
    """One step of a recipe with its largest pack; see ``dry_run``."""
    resolved = load_recipe(recipe, tuple(changes))
    pack = Pack(largest.tokens, largest.tiles, largest.targets, largest.samples)
    return dry_run(model_of(resolved, None), resolved.train, pack, cluster_of(hardware).count)


def dry_run(model_config: ModelConfig, train: TrainConfig, pack: Pack, world: int) -> DryRun:
    """One step of rank 0 of ``world``, with one pack.

    Raises:
        ConfigError: the ranks or the model do not divide as ``train.parallel`` says, or this process has ranks.
    """
    if has_ranks():
        raise ConfigError(["this process is one of several already; a dry run simulates them"], "--dry-run")
    watched = _Watched([])
    with ExitStack() as stack:
        stack.enter_context(_fake_world(world))
        stack.enter_context(_as_on_gpu())
        # Spread without memory, then filled with fakes: meshes are made of real numbers, which fakes would hide.
        model = on_meta(model_config)
        model.compute_dtype = torch.bfloat16
        parallelise(model, train.parallel, build_mesh(train.parallel, world))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(watched)
        stack.enter_context(_resizes_noted(watched))
        stack.enter_context(_real_meshes())
        stack.enter_context(_shapes_unseen())
        model.to_empty(device="cpu")
        model._check_seam = lambda *_: None  # type: ignore[method-assign] # counts of contents that are not there
        for module in model.modules():
            if isinstance(module, MoE) and isinstance(module.work, partial):
                module.work = partial(_even_work, module, module.work.args[1])  # type: ignore[method-assign]
        optimizer = build_optimizer(model, train.optimizer)
        parameters = _bytes(model.parameters())
        batch = _batch(pack, model_config)
        # Gradients are gone after the step; what they take is seen where the optimizer begins.
        gradients: list[int] = []
        _before(optimizer, lambda: gradients.append(_bytes(p.grad for p in model.parameters() if p.grad is not None)))
        watched.operations, watched.peak = 0, watched.alive
        # Where labels are, then where pictures are.
        watched.found[:] = [pack.targets, pack.tiles * model_config.connector.tokens]
        train_step(model, optimizer, [batch], train.optimizer.clip, train.z_loss)
        state = sum(_bytes(values.values()) for values in optimizer.state().values())
    return DryRun(world, parameters, gradients[0], state, watched.peak, watched.operations)


def _before(optimizer: Any, call: Any) -> None:
    inner = optimizer.step

    def step() -> None:
        call()
        inner()

    optimizer.step = step


def _bytes(tensors: Any) -> int:
    """Of this rank's parts."""
    return sum(part.numel() * part.element_size() for part in (local(tensor) for tensor in tensors))


def _batch(pack: Pack, config: ModelConfig) -> PackedBatch:
    even = [pack.tokens * sample // pack.samples for sample in range(pack.samples + 1)]
    tiles = [pack.tiles * sample // pack.samples for sample in range(pack.samples + 1)]
    side = config.vision.image_size
    return PackedBatch(
        tokens_T=torch.empty(pack.tokens, dtype=torch.long),
        labels_T=torch.empty(pack.tokens, dtype=torch.long),
        positions_T=torch.empty(pack.tokens, dtype=torch.long),
        borders=tuple(even),
        tiles_NCHW=torch.empty(pack.tiles, 3, side, side, dtype=torch.uint8),
        tile_counts=tuple(b - a for a, b in pairwise(tiles)),
        image_token=config.image_token,
        tokens_per_tile=config.connector.tokens,
    )


def _even_work(moe: MoE, group: dist.ProcessGroup, x_TD: Tensor, gates_TK: Tensor, plan: Dispatch) -> Tensor:
    """``parallel_experts._work`` where every rank sends every other as many rows."""
    ranks, pairs = (
        dist.get_world_size(group),
        len(plan.row_N) // dist.get_world_size(group) * dist.get_world_size(group),
    )
    even = [pairs // ranks] * ranks
    rows_GD = all_to_all_single_autograd(x_TD.index_select(0, plan.row_N[:pairs]), even, even, group)
    order_G = torch.empty(pairs, dtype=torch.long)
    here = Dispatch(order_G, order_G, torch.empty(len(plan.ends_E) // ranks, dtype=torch.long), order_G[None], 0)
    worked_GD = mix(rows_GD, rows_GD.new_ones(pairs, 1), here, local(moe.gate_up.weight), local(moe.down.weight))
    back_ND = all_to_all_single_autograd(worked_GD.contiguous(), even, even, group)
    back_ND = back_ND * gates_TK.t().reshape(-1)[plan.pair_N[:pairs]].to(x_TD.dtype)[:, None]
    return back_ND.index_select(0, plan.slot_KT.flatten()).view(*plan.slot_KT.shape, x_TD.shape[1]).sum(0)


@contextmanager
def _fake_world(world: int) -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        lay_out(None)
        dist.destroy_process_group()


@contextmanager
def _resizes_noted(watched: _Watched) -> Iterator[None]:
    """FSDP gives memory back by making storages empty, which no kernel is called for."""
    resize = torch.UntypedStorage.resize_

    def noted(storage: torch.UntypedStorage, size: int) -> torch.UntypedStorage:
        result = resize(storage, size)
        watched.note(storage)
        return result

    with _instead(torch.UntypedStorage, "resize_", noted):
        yield


@contextmanager
def _real_meshes() -> Iterator[None]:
    """Where a part of a mesh is made, it asks for its place in the whole: real numbers, which no fake may stand for."""

    make = DeviceMesh.__init__

    def real(mesh: DeviceMesh, *args: Any, **kwargs: Any) -> None:
        with _disable_current_modes():
            make(mesh, *args, **kwargs)

    with _instead(DeviceMesh, "__init__", real):
        yield


@contextmanager
def _shapes_unseen() -> Iterator[None]:
    """DTensor finds the shapes of results with fakes of its own, as large as the whole: they are no memory of a
    rank."""
    find = ShardingPropagator._propagate_tensor_meta_non_cached

    def unseen(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return find(*args, **kwargs)

    with _instead(ShardingPropagator, "_propagate_tensor_meta_non_cached", unseen):
        yield


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of an attribute, for a while."""
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


@contextmanager
def _as_on_gpu() -> Iterator[None]:
    """Attention as on a GPU (fake tensors of this process are called CPU tensors: its torch may know no other
    device)."""
    on_gpu = _instead(attention, "reads_borders", lambda device, dtype: True)
    with on_gpu, _instead(torch.cuda, "is_available", lambda: False):
        yield
