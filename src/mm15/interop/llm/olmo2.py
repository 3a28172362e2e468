"""OLMo 2: norms behind attention and MLP, and one norm over all query heads and one over all key heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact
from mm15.interop.llm._common import ANY, build, decoder_entries, inexact_common, read_common, write_common
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "olmo2"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """``clip_qkv`` of the first OLMo is refused."""
    fields = Fields(raw, "config.json")
    values = read_common(fields, eps=1e-5)
    bias = fields.flag("attention_bias", False)
    fields.refuse("clip_qkv", (), "queries, keys and values are not clipped here")
    values |= {"qk_norm": True, "qk_norm_over": "all", "norm_order": "after", "qkv_bias": bias, "out_bias": bias}
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 4_096) -> dict[str, Any]:
    """config.json of ``Olmo2ForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    problems = inexact_common(config, qk_norm=True, qk_norm_over="all", norm_order="after", qkv_bias=ANY, out_bias=ANY)
    if config.qkv_bias != config.out_bias:
        problems.append("qkv_bias, out_bias: the family has both or neither")
    inexact("OLMo 2", problems)
    common = write_common(config, MODEL_TYPE, "Olmo2ForCausalLM", positions)
    return common | {"attention_bias": config.qkv_bias}
