"""Bytes that one rank holds at the height of a step, part by part.

Weights, gradients and optimizer state follow from shapes alone. Activations are what autograd keeps between forward
and backward, counted by hand from the layers; a test adds up the storages of a running model beside it, which were 0.96
to 1.17 of the formula. The rest is what is alive for a moment. Not in it: the allocator's fragments (a tenth of the
device is left free for them and for the runtime); with ``selective`` checkpointing the block that is being computed
again, which only shallow models feel; the squares of attention where a CPU writes them out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import nn

from mm15.model.experts import Experts
from mm15.model.flops import on_meta
from mm15.model.moe import Router
from mm15.model.sizes import ModelConfig
from mm15.train.loss import CHUNK_ELEMENTS
from mm15.train.optim import is_hidden
from mm15.train.parallel_config import ParallelConfig
from mm15.train.run_config import OptimizerConfig

USABLE = 0.9
"""Share of a device's memory that a plan may fill."""
FP32, BF16 = 4, 2


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of a model that memory depends on."""

    dense: int
    """All but experts."""
    experts: int
    decoder_dense: int
    """Of ``dense``, what tensor parallelism shares out: the decoder's blocks."""
    largest_group: int
    """Of the unit that is gathered at once: a block, or the word table; experts by themselves."""
    largest_experts: int
    dense_state: dict[str, float]
    """Optimizer state of the parameters without experts, by kind of optimizer, in elements."""
    experts_state: dict[str, float]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one rank."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """Kept for the way back, of the largest pack."""
    logits: float
    """Of the largest pack's targets, and their gradient."""
    gathered: float
    """Whole parameters and gradients of the units that are worked on, and sums over ranks in flight."""

    @property
    def total(self) -> float:
        """All parts; they need not peak together, so it is a bound from above for what is counted (see above)."""
        return float(sum(asdict(self).values()))


def parameters_of(config: ModelConfig) -> Parameters:
    """Counts, from the model on the meta device."""
    model = on_meta(config)
    expert_ids = {id(module.weight) for module in model.modules() if isinstance(module, Experts)}
    router_ids = {id(module.weight) for module in model.modules() if isinstance(module, Router)}
    dense = experts = block_dense = 0
    dense_state = {"adamw": 0.0, "adafactor": 0.0, "muon": 0.0}
    experts_state = dict(dense_state)
    for name, parameter in model.named_parameters():
        is_expert, size = id(parameter) in expert_ids, parameter.numel()
        state = experts_state if is_expert else dense_state
        state["adamw"] += 2 * size
        if parameter.ndim in (2, 3):
            state["adafactor"] += size / parameter.shape[-1] + size / parameter.shape[-2]
        else:
            state["adafactor"] += size
        by_muon = (
            is_hidden(model, name, parameter) and (is_expert or parameter.ndim == 2) and id(parameter) not in router_ids
        )
        state["muon"] += size if by_muon else 2 * size
        if is_expert:
            experts += size
        else:
            dense += size
            block_dense += size if name.startswith("decoder.blocks.") else 0
    groups = [*model.vision.blocks, *model.decoder.blocks, model.decoder.embedding]
    weights = [_split(group, expert_ids) for group in groups]
    return Parameters(
        dense=dense,
        experts=experts,
        decoder_dense=block_dense,
        largest_group=max(one for one, _ in weights),
        largest_experts=max(one for _, one in weights),
        dense_state=dense_state,
        experts_state=experts_state,
    )


def _split(module: nn.Module, expert_ids: set[int]) -> tuple[int, int]:
    inside = [(parameter.numel(), id(parameter) in expert_ids) for parameter in module.parameters()]
    return sum(size for size, expert in inside if not expert), sum(size for size, expert in inside if expert)


def memory_of(
    config: ModelConfig,
    tile: int,
    pack: tuple[float, float, float],
    optimizer: OptimizerConfig,
    parallel: ParallelConfig,
    world: int,
    bf16: bool,
) -> Memory:
    """One rank's parts.

    Args:
        tile: side of a tile in px.
        pack: tokens, tiles and targets of the largest pack.
        world: ranks.
        bf16: whether activations are bf16; parameters are fp32.

    Raises:
        ConfigError: the ranks do not divide as ``parallel`` says.
    """
    counts = parameters_of(config)
    axes = parallel.sizes(world)
    over = axes["shards"] if parallel.shard != "none" else 1
    dense_ways = over * (axes["experts"] if parallel.shard != "none" else 1)
    expert_ways = over * axes["experts"]
    tensor = parallel.tensor
    dense = (counts.dense - counts.decoder_dense + counts.decoder_dense / tensor) / dense_ways
    experts = counts.experts / expert_ways
    size = BF16 if bf16 else FP32
    share = dense / counts.dense
    state = counts.dense_state[optimizer.kind] * share + counts.experts_state[optimizer.kind] / expert_ways
    if optimizer.momentum is not None and optimizer.kind == "adafactor":
        state += dense + experts
    gathered = 0.0
    if parallel.shard != "none":
        # Two units are there at once, the next one being fetched; their gradients too, before they are summed and
        # shared out.
        unit = counts.largest_group / tensor + counts.largest_experts / axes["experts"]
        gathered = 2 * unit * size + unit * (size + FP32)
    elif world > 1:
        gathered = (dense + experts) * FP32  # all gradients as one vector, to be summed
    kept = activation_bytes(config, tile, pack, parallel, size)
    if parallel.shard == "none" and bf16:
        kept += (dense + experts) * BF16  # every product keeps its weight as it was cast
    targets = pack[2]
    vocabulary = config.decoder.vocab_size
    logits = targets * vocabulary * 2 * size + min(targets * vocabulary, CHUNK_ELEMENTS) * 2 * FP32
    return Memory(
        weights=FP32 * (dense + experts),
        gradients=FP32 * (dense + experts),
        optimizer=FP32 * state,
        activations=kept,
        logits=logits,
        gathered=gathered,
    )


def activation_bytes(
    config: ModelConfig, tile: int, pack: tuple[float, float, float], parallel: ParallelConfig, size: int
) -> float:
    """What is kept for the way back, by the kind of checkpointing."""
    tokens, tiles, _ = pack
    vision, decoder = config.vision, config.decoder
    patches = (tile // vision.patch_size) ** 2 + int(vision.class_token)
    kind, tensor = parallel.checkpointing, parallel.tensor
    heads = decoder.heads * decoder.head_dim
    qkv = (decoder.heads + 2 * decoder.kv_heads) * decoder.head_dim
    # Per position of a block, in elements. Norms keep input and their result, products their input, attention its q,
    # k, v and
    # output, the feed-forward network gate, up, activation and product; quick GELU the input and the sigmoid.
    eye = {
        "none": 4 * vision.width + 3 * vision.width + vision.width + 4 * vision.mlp_width,
        "selective": vision.width + 3 * vision.width + 2 * vision.width + vision.mlp_width + vision.width,
        "full": vision.width,
    }[kind]
    norms = 2 * qkv if decoder.qk_norm else 0
    attention = {
        "none": 4 * decoder.width + (2 * qkv + norms + heads) / tensor,
        "selective": 2 * decoder.width + (qkv + heads) / tensor,
    }
    inner = 0.0
    for layer in range(decoder.layers):
        moe = decoder.moe if decoder.moe is not None and decoder.moe.in_layer(layer) else None
        rows = moe.top_k if moe else 1
        width = ((moe.mlp_width if moe else None) or decoder.mlp_width) / (tensor if not moe else 1)
        extra = rows * decoder.width * 2 if moe else 0
        if kind == "none":
            inner += attention["none"] + rows * 5 * width + extra
        elif kind == "selective":
            inner += attention["selective"] + rows * 2 * width + extra
        else:
            inner += decoder.width
    connector = config.connector
    bottlenecks = 12 * connector.hidden if connector.kind == "c-abstractor" else 2 * vision.width
    between = connector.depth * bottlenecks * ((patches - int(vision.class_token)) + connector.tokens)
    one_block = 0.0
    if kind == "full":  # the block that is computed again has all of its own
        one_block = max(
            tiles * patches * (8 * vision.width + 4 * vision.mlp_width),
            tokens * (4 * decoder.width + (2 * qkv + norms + heads + 5 * decoder.mlp_width) / tensor),
        )
    pixels = tiles * 3 * tile**2 * (FP32 + size)
    return size * (tiles * patches * vision.layers * eye + tiles * between + tokens * inner + one_block) + pixels
