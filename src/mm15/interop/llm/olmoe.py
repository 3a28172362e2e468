"""OLMoE (1B-7B): experts in every layer, one norm over all query heads and one over all key heads, norms in front."""

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

MODEL_TYPE = "olmoe"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """``intermediate_size`` is that of an expert; ``clip_qkv`` is refused."""
    fields = Fields(raw, "config.json")
    values = read_common(fields, eps=1e-5)
    bias = fields.flag("attention_bias", False)
    fields.refuse("clip_qkv", (), "queries, keys and values are not clipped here")
    values["moe"] = read_moe(fields, 1, values["mlp_width"], 64)
    values |= {"qk_norm": True, "qk_norm_over": "all", "qkv_bias": bias, "out_bias": bias}
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 4_096) -> dict[str, Any]:
    """config.json of ``OlmoeForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    expected = {"qk_norm": True, "qk_norm_over": "all", "qkv_bias": ANY, "out_bias": ANY, "moe": ANY}
    problems = inexact_common(config, **expected) + inexact_moe(config)
    if config.moe is not None and config.moe.every != 1:
        problems.append(f"moe.every: {config.moe.every}, the family has experts in every layer")
    if config.heads * config.head_dim != config.width:
        problems.append(f"heads x head_dim: {config.heads * config.head_dim}, the family has the width {config.width}")
    inexact("OLMoE", problems)
    assert config.moe is not None
    common = write_common(config, MODEL_TYPE, "OlmoeForCausalLM", positions)
    inner = config.moe.mlp_width or config.mlp_width
    return {**common, **write_moe(config.moe), "intermediate_size": inner, "attention_bias": config.qkv_bias}
