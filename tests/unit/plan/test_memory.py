"""Bytes of a rank, by hand at debug size, and against what autograd really keeps."""

from __future__ import annotations

import pytest

from mm15.model.flops import on_meta
from mm15.model.sizes import SIZES
from mm15.plan.memory import activation_bytes, memory_of, parameters_of
from mm15.train.parallel_config import ParallelConfig
from mm15.train.run_config import OptimizerConfig

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
