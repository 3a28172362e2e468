"""Spread a model over ranks, in place and from outside: what is shared out, what is recomputed, what is compiled.

On torch's own engine: FSDP2 (``fully_shard``), tensor and expert parallelism on ``DTensor`` parameters, checkpointing,
``torch.compile`` block by block. A step computes what one rank alone would compute, up to rounding.

Every rank passes the vision tower and the connector in every pass, over zero tiles where its pack has none
(``MultimodalModel.embed``): a rank that skipped them would leave the others waiting in a collective call for ever.
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from mm15.base.errors import ConfigError
from mm15.dist.ranks import has_ranks, joined, lay_out, place, rank_device
from mm15.model.decoder import Stream
from mm15.model.moe import MoE, Router
from mm15.model.multimodal import MultimodalModel
from mm15.train.parallel_config import ParallelConfig
from mm15.train.parallel_experts import share_experts
from mm15.train.parallel_tensor import share_heads
from mm15.train.parallel_tiles import balance_tiles


def build_mesh(config: ParallelConfig, world: int | None = None) -> DeviceMesh:
    """The ranks along the axes ``replicas, shards, experts, tensor``.

    The last axes lie closest: ranks of one ``tensor`` group are neighbours, mostly of one node. Every rank calls it,
    inside a process group; it becomes ``dist.ranks.layout``.

    Raises:
        ConfigError: so many ranks do not divide so.
    """
    sizes = config.sizes(world or place()[1])
    mesh = init_device_mesh(rank_device().type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
    # Groups are made by all ranks at once, so now and not when the first asks for them.
    joined(mesh, "data")
    joined(mesh, "within")
    lay_out(mesh)
    return mesh


def parallelise(model: nn.Module, config: ParallelConfig, mesh: DeviceMesh | None = None) -> None:
    """Spread a model over the ranks of a mesh; without ranks only checkpointing and compiling remain.

    Call it once, with ``compute_dtype`` set, and before the optimizer is built: parameters become ``DTensor``. Weights
    are there already, or the model is on the meta device and ``weights.fill`` gives every rank its part afterwards.
    Parameters stay fp32, are gathered in the dtype of the computation, and gradients are summed in fp32, not averaged:
    the loss is divided by the targets of all ranks already.

    Args:
        model: a ``MultimodalModel``, or another with blocks in ``vision`` (the encoder stage).
        mesh: from ``build_mesh``; made here where there are ranks and none is given.

    Raises:
        ConfigError: the model's heads or experts cannot be shared out so; everything at once.
    """
    if mesh is None and has_ranks():
        mesh = build_mesh(config)
    if mesh is None:
        if config.shares_out:
            raise ConfigError(
                ["train.parallel shares the model out over ranks, and there is one process: start it with torchrun"],
                "recipe",
            )
    elif isinstance(model, MultimodalModel):
        if problems := _misfits(model, config):
            raise ConfigError(problems, "train.parallel")
        if config.tensor > 1:
            share_heads(model, mesh["tensor"])
        if config.experts > 1:
            share_experts(model, mesh["experts"])
        if (data := joined(mesh, "data")).size() > 1:
            balance_tiles(model, data.get_group())
    elif config.tensor > 1 or config.experts > 1:
        raise ConfigError(
            [f"tensor {config.tensor} and experts {config.experts} share out a decoder, and this stage trains none"],
            "train.parallel",
        )
    blocks = _blocks(model)
    if config.checkpointing != "none":
        for block in blocks:
            _recompute(block, selective=config.checkpointing == "selective")
    if config.compile:
        _compile(blocks)
    if mesh is not None and config.shard != "none":
        _shard(model, blocks, config, mesh)


def _misfits(model: MultimodalModel, config: ParallelConfig) -> list[str]:
    decoder, problems = model.config.decoder, []
    if config.tensor > 1:
        for name in ("heads", "kv_heads", "mlp_width"):
            if getattr(decoder, name) % config.tensor:
                problems.append(f"tensor: {name} {getattr(decoder, name)} is no multiple of {config.tensor}")
        if decoder.qk_norm and decoder.qk_norm_over == "all":
            problems.append("tensor: this decoder norms all heads as one row (qk_norm_over: all); shard it instead")
    if config.experts > 1 and decoder.moe is None:
        problems.append(f"experts: {config.experts} ranks for a model without experts; use shard")
    if decoder.moe is not None and decoder.moe.experts % config.experts:
        problems.append(f"experts: {decoder.moe.experts} experts are no multiple of {config.experts} ranks")
    return problems


def _blocks(model: nn.Module) -> list[nn.Module]:
    """What repeats: the blocks of the vision tower, then those of the decoder."""
    parts = [part for name in ("vision", "decoder") if (part := getattr(model, name, None)) is not None]
    return [block for part in parts for block in part.blocks]


def _shard(model: nn.Module, blocks: list[nn.Module], config: ParallelConfig, mesh: DeviceMesh) -> None:
    dtype = model.compute_dtype
    assert isinstance(dtype, torch.dtype)
    narrow = MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False)
    wide = MixedPrecisionPolicy(None, torch.float32, cast_forward_inputs=False)
    # It warns of in-place work on a part's output, of which there is none.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    hybrid = config.shard == "hybrid"
    within = joined(mesh, "within")
    every = DeviceMesh._concatenate([mesh["replicas"], within]) if hybrid else within
    few = mesh["replicas", "shards"] if hybrid else mesh["shards"]
    for module in model.modules():
        # A router computes in fp32 whatever the rest does.
        if isinstance(module, Router):
            fully_shard(module, mesh=every, mp_policy=wide)
    for block in blocks:
        # Experts by themselves: where they are shared out already fewer ranks hold copies, and the exchange of rows
        # must not lie between the gathering of a block and its release.
        if isinstance(mlp := getattr(block, "mlp", None), MoE):
            if config.experts > 1:
                fully_shard(mlp, mesh=few, mp_policy=narrow, shard_placement_fn=partial(_other_axis, few))
            else:
                fully_shard(mlp, mesh=every, mp_policy=narrow)
        fully_shard(block, mesh=every, mp_policy=narrow, shard_placement_fn=partial(_other_axis, every))
    for part in (model.vision, model.connector):
        assert isinstance(part, nn.Module)
        fully_shard(part, mesh=every, mp_policy=narrow)
    # Embedding, head and final norm; the heads of the encoder stage mix dtypes, so they are gathered as they are.
    fully_shard(model, mesh=every, mp_policy=narrow if isinstance(model, MultimodalModel) else wide)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sums


def _other_axis(mesh: DeviceMesh, parameter: nn.Parameter) -> Shard | None:
    """Shards along an axis that no other axis of the mesh has cut, where it divides evenly; None is the first axis."""
    if not isinstance(parameter, DTensor):
        return None
    taken = {placement.dim for placement in parameter.placements if isinstance(placement, Shard)}
    size = mesh.size(mesh.ndim - 1)
    free = [axis for axis in range(parameter.ndim) if axis not in taken and parameter.shape[axis] % size == 0]
    return Shard(free[0]) if free else None


def _recompute(block: nn.Module, selective: bool) -> None:
    """``forward`` of a block under checkpointing. Not torch's wrapper module, which would rename the parameters."""
    contexts = {"context_fn": partial(create_selective_checkpoint_contexts, _keep_products)} if selective else {}
    # What a block computes does not draw random numbers, so none need be put back.
    block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, **contexts)


_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._grouped_mm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops._c10d_functional.all_to_all_single.default,
    torch.ops._c10d_functional.all_reduce.default,
}


def _keep_products(context: object, operator: object, *arguments: object, **options: object) -> CheckpointPolicy:
    """Costly to make again are products and what travelled; the squares of written-out attention cost more to keep."""
    return CheckpointPolicy.MUST_SAVE if operator in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def _compile(blocks: list[nn.Module]) -> None:
    # Attention over segments depends on where each pack's borders lie; compiled, it would be compiled anew for every
    # pack. Around it the graph breaks.
    Stream.attend = torch.compiler.disable(Stream.attend)  # type: ignore[method-assign]
    for block in blocks:
        block.compile()
