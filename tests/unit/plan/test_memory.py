"""Bytes of a rank, by hand at debug size, and against what autograd really keeps."""

from __future__ import annotations

import weakref
from typing import Any, Literal

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mm15.model.flops import on_meta
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES
from mm15.plan.memory import activation_bytes, memory_of, parameters_of
from mm15.train.loss import loss_sums
from mm15.train.parallel import parallelise
from mm15.train.parallel_config import ParallelConfig
from mm15.train.rehearsal import largest_pack
from mm15.train.run_config import OptimizerConfig, TrainConfig

DEBUG = SIZES["debug"]
PACK = (512.0, 8.0, 100.0)
SHARDED = ParallelConfig(shard="full")


def test_weights_gradients_and_adamw_are_sixteen_bytes_a_parameter():
    count = sum(parameter.numel() for parameter in on_meta(DEBUG).parameters())
    memory = memory_of(DEBUG, 16, PACK, OptimizerConfig(), ParallelConfig(), world=1, bf16=False)
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * count, 4 * count, 8 * count)
    assert memory.gathered == 0
    # Logits and their gradient, and both once more in fp32 where the loss is computed.
    assert memory.logits == 100 * 64 * 4 * 4


def test_adafactor_keeps_a_row_and_a_column():
    expected = 0
    for parameter in on_meta(DEBUG).parameters():
        shape = parameter.shape
        expected += shape[0] + shape[1] if len(shape) == 2 else parameter.numel()
    memory = memory_of(DEBUG, 16, PACK, OptimizerConfig(kind="adafactor"), ParallelConfig(), world=1, bf16=False)
    assert memory.optimizer == 4 * expected


def test_sharding_shares_out_weights_gradients_and_state():
    alone = memory_of(DEBUG, 16, PACK, OptimizerConfig(), ParallelConfig(), world=1, bf16=True)
    eight = memory_of(DEBUG, 16, PACK, OptimizerConfig(), SHARDED, world=8, bf16=True)
    for part in ("weights", "gradients", "optimizer"):
        assert getattr(eight, part) * 8 == pytest.approx(getattr(alone, part))
    assert eight.gathered > 0


def test_experts_are_shared_out_over_their_ranks():
    config = SIZES["mini-moe"]
    counts = parameters_of(config)
    assert counts.experts == 8 * 3 * 128 * 352
    parallel = ParallelConfig(shard="full", experts=4)
    memory = memory_of(config, 64, PACK, OptimizerConfig(), parallel, world=8, bf16=True)
    assert memory.weights == pytest.approx(4 * (counts.dense + counts.experts) / 8)


def test_checkpointing_keeps_less():
    kinds = [ParallelConfig(checkpointing=kind) for kind in ("none", "selective", "full")]
    none, selective, full = (activation_bytes(SIZES["3b"], 672, (4096, 26, 1500), kind, 2) for kind in kinds)
    assert none > selective > full > 0


class _Alive(TorchDispatchMode):
    """Adds up the storages that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not isinstance(tensor, torch.nn.Parameter):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata)
                    self.alive += storage.nbytes()
                    self.peak = max(self.peak, self.alive)
        return result

    def _gone(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["none", "selective", "full"])
def test_the_formula_tells_what_a_pack_really_keeps(kind: Literal["none", "selective", "full"], dtype: torch.dtype):
    model = MultimodalModel(DEBUG, dtype)
    model.init_weights(0)
    parallel = ParallelConfig(checkpointing=kind)
    parallelise(model, parallel)
    batch = largest_pack(model, TrainConfig(steps=1, pack_tokens=512, pack_tiles=16), longest=64)
    pack = (512.0, 16.0, float(batch.num_targets))
    planned = memory_of(DEBUG, 16, pack, OptimizerConfig(), parallel, world=1, bf16=dtype is torch.bfloat16)
    with _Alive() as watched:
        output = model(batch)
        kept = watched.alive - output.logits_LV.untyped_storage().nbytes()
        loss_sums(output, batch).objective.backward()
    if kind == "full":  # the plan has the block that is computed again, which comes on the way back
        everything = planned.activations + planned.logits + planned.gradients
        assert kept < 0.6 * planned.activations
        assert 0.75 < watched.peak / everything < 1.15
    else:
        assert 0.85 < kept / planned.activations < 1.25
