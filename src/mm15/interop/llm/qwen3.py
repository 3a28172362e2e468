"""Qwen3: Llama with an RMS norm of every query and key head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact
from mm15.interop.llm._common import (
    ANY,
    build,
    decoder_entries,
    inexact_common,
    read_common,
    read_window,
    write_common,
)
from mm15.interop.llm.qwen2 import window_fields
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "qwen3"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """``head_dim`` is 128 where it is not stated, whatever the width."""
    fields = Fields({"head_dim": 128, **raw}, "config.json")
    values = read_common(fields)
    bias = fields.flag("attention_bias", False)
    values |= {"qk_norm": True, "qkv_bias": bias, "out_bias": bias, "window": read_window(fields, values["layers"])}
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 32_768) -> dict[str, Any]:
    """config.json of ``Qwen3ForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    problems = inexact_common(config, qk_norm=True, qk_norm_over="head", qkv_bias=ANY, out_bias=ANY, window=ANY)
    if config.qkv_bias != config.out_bias:
        problems.append("qkv_bias, out_bias: the family has both or neither")
    inexact("Qwen3", problems)
    common = write_common(config, MODEL_TYPE, "Qwen3ForCausalLM", positions)
    return common | window_fields(config) | {"attention_bias": config.qkv_bias}
