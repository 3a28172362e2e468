"""Qwen2 and Qwen2.5: Llama with biases on queries, keys and values."""

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
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "qwen2"
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """The biases are part of the family and not of its config."""
    fields = Fields(raw, "config.json")
    values = read_common(fields)
    values |= {"qkv_bias": True, "window": read_window(fields, values["layers"])}
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 32_768) -> dict[str, Any]:
    """config.json of ``Qwen2ForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    inexact("Qwen2", inexact_common(config, qkv_bias=True, window=ANY))
    common = write_common(config, MODEL_TYPE, "Qwen2ForCausalLM", positions)
    return common | window_fields(config)


def window_fields(config: DecoderConfig) -> dict[str, Any]:
    """How the Qwen families state a window of all layers, or none."""
    return {
        "use_sliding_window": config.window is not None,
        "sliding_window": config.window,
        "max_window_layers": 0 if config.window else config.layers,
    }
