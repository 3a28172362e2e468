"""Qwen3-MoE (30B-A3B): Qwen3 with experts in every ``decoder_sparse_step``-th layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact
from mm15.interop.llm._common import (
    ANY,
    build,
    decoder_entries,
    inexact_common,
    inexact_moe,
    read_common,
    read_moe,
    write_common,
    write_moe,
)
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "qwen3_moe"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Without ``head_dim`` the width is shared by the heads, unlike in Qwen3."""
    fields = Fields(raw, "config.json")
    values = read_common(fields)
    bias = fields.flag("attention_bias", False)
    if fields.raw.get("mlp_only_layers"):
        fields.problems.append(
            "mlp_only_layers: here every decoder_sparse_step-th layer has experts, without exceptions"
        )
    every = fields.integer("decoder_sparse_step", 1)
    values["moe"] = read_moe(fields, every, fields.integer("moe_intermediate_size", 768), 128)
    values |= {"qk_norm": True, "qkv_bias": bias, "out_bias": bias}
    if fields.flag("use_sliding_window", False):
        values["window"] = fields.integer("sliding_window")
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 32_768) -> dict[str, Any]:
    """config.json of ``Qwen3MoeForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    expected = {"qk_norm": True, "qk_norm_over": "head", "qkv_bias": ANY, "out_bias": ANY, "window": ANY, "moe": ANY}
    problems = inexact_common(config, **expected) + inexact_moe(config)
    inexact("Qwen3-MoE", problems)
    assert config.moe is not None
    return {
        **write_common(config, MODEL_TYPE, "Qwen3MoeForCausalLM", positions),
        **write_moe(config.moe),
        "decoder_sparse_step": config.moe.every,
        "moe_intermediate_size": config.moe.mlp_width or config.mlp_width,
        "mlp_only_layers": [],
        "attention_bias": config.qkv_bias,
        "use_sliding_window": config.window is not None,
        "sliding_window": config.window,
    }
