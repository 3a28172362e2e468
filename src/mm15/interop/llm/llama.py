"""Llama 2 and 3, SmolLM and SmolLM2, and everything else that calls itself ``llama``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact
from mm15.interop.llm._common import ANY, build, decoder_entries, inexact_common, read_common, write_common
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "llama"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """``attention_bias`` means all four projections, as in ``LlamaAttention`` of transformers."""
    fields = Fields(raw, "config.json")
    values = read_common(fields)
    bias = fields.flag("attention_bias", False)
    values |= {"qkv_bias": bias, "out_bias": bias, "mlp_bias": fields.flag("mlp_bias", False)}
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 32_768) -> dict[str, Any]:
    """config.json of ``LlamaForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    problems = inexact_common(config, qkv_bias=ANY, out_bias=ANY, mlp_bias=ANY)
    if config.qkv_bias != config.out_bias:
        problems.append("qkv_bias, out_bias: the family has both or neither")
    inexact("Llama", problems)
    common = write_common(config, MODEL_TYPE, "LlamaForCausalLM", positions)
    return common | {"attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}
