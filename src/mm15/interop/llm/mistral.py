"""Mistral 7B and its like: Llama with an optional sliding window in every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact
from mm15.interop.llm._common import ANY, build, decoder_entries, inexact_common, read_common, write_common
from mm15.model.sizes import DecoderConfig

MODEL_TYPE = "mistral"
WINDOW = 4096
"""Of a config that states none; later releases state null, which means no window."""
entries = decoder_entries


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """No biases; ``sliding_window`` null is none."""
    fields = Fields(raw, "config.json")
    values = read_common(fields)
    fields.refuse("layer_types", (["full_attention"] * values["layers"],), "layers of different kinds")
    if raw.get("sliding_window", WINDOW) is not None:
        values["window"] = fields.integer("sliding_window", WINDOW)
    return build(fields, values)


def write_config(config: DecoderConfig, positions: int = 32_768) -> dict[str, Any]:
    """config.json of ``MistralForCausalLM``. Raises ``ConfigError`` where the family lacks something."""
    inexact("Mistral", inexact_common(config, window=ANY))
    common = write_common(config, MODEL_TYPE, "MistralForCausalLM", positions)
    return common | {"sliding_window": config.window}
