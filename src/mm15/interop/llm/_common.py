"""What the Llama family shares: names of tensors, and the values of config.json that all of them have."""

from __future__ import annotations

from typing import Any

from mm15.interop.fields import Fields, refuse_quantised
from mm15.interop.names import Entry, entry
from mm15.interop.rope import read_rope, write_rope
from mm15.model.sizes import DecoderConfig

SCOPES = ("language_model.model.", "model.language_model.")
"""Where a language model lies inside a multimodal checkpoint."""
IGNORED = (r"(^|\.)rotary_emb\.inv_freq$", r"(^|\.)masked_bias$", r"(^|\.)attn\.bias$")
"""Constants that older files hold."""
SILU = {"silu": None, "swish": None}


def read_common(fields: Fields, eps: float = 1e-6, theta: float = 10_000.0) -> dict[str, Any]:
    """The values every family states alike, as arguments of ``DecoderConfig``. Problems stay in ``fields``."""
    refuse_quantised(fields)
    fields.choice("hidden_act", SILU, "silu")
    heads, width = fields.integer("num_attention_heads"), fields.integer("hidden_size")
    kv_heads = fields.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        fields.problems.append(f"num_attention_heads: {heads} is not a multiple of num_key_value_heads {kv_heads}")
    head_dim = fields.integer("head_dim", max(width // heads, 1))
    if head_dim % 2 and not fields.problems:
        fields.problems.append(f"head_dim: {head_dim} is odd: components turn in pairs")
    base, scaling = read_rope(fields, theta)
    return {
        "vocab_size": fields.integer("vocab_size"),
        "width": width,
        "layers": fields.integer("num_hidden_layers"),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "mlp_width": fields.integer("intermediate_size"),
        "norm_eps": fields.number("rms_norm_eps", eps),
        "tied_head": fields.flag("tie_word_embeddings", False),
        "rope_theta": base,
        "rope_scaling": scaling,
    }


def build(fields: Fields, values: dict[str, Any]) -> DecoderConfig:
    """The config, or every problem at once."""
    fields.close()
    return DecoderConfig(**values)


def read_window(fields: Fields, layers: int) -> int | None:
    """The sliding window of the Qwen families: of all layers, or of none. Some of them only is a problem."""
    if not fields.flag("use_sliding_window", False):
        return None
    window = fields.integer("sliding_window")
    first = fields.raw.get("max_window_layers", 28)
    kinds = fields.raw.get("layer_types") or [
        "sliding_attention" if layer >= first else "full_attention" for layer in range(layers)
    ]
    sliding = sum(kind == "sliding_attention" for kind in kinds)
    if 0 < sliding < layers:
        fields.problems.append(
            f"sliding_window: only {sliding} of {layers} layers have one (max_window_layers, layer_types); here all "
            "layers have the same window or none"
        )
    return window if sliding == layers else None


def write_common(config: DecoderConfig, model_type: str, architecture: str, positions: int) -> dict[str, Any]:
    """The values that every family states alike, as config.json of transformers 5 has them.

    Args:
        positions: the longest context that the model is to be used with.
    """
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": positions,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_head,
        "rope_parameters": write_rope(config),
    }


def inexact_common(config: DecoderConfig, **expected: Any) -> list[str]:
    """Where a config differs from what a family always has; what is not expected here must be at its default."""
    fixed = {
        "qkv_bias": False,
        "out_bias": False,
        "mlp_bias": False,
        "qk_norm": False,
        "norm_order": "before",
        "window": None,
        **expected,
    }
    if not config.qk_norm:  # then it does not matter over what
        fixed.pop("qk_norm_over", None)
    return [
        f"{name}: {getattr(config, name)!r}, the family has {value!r}"
        for name, value in fixed.items()
        if value is not ANY and getattr(config, name) != value
    ]


ANY = object()
"""A value the family can state in its config."""


def decoder_entries(config: DecoderConfig) -> list[Entry]:
    """The whole map; theirs without the ``model.`` in front of all names but ``lm_head.weight``."""
    width, head_dim = config.width, config.head_dim
    heads, kv_heads = config.heads * head_dim, config.kv_heads * head_dim
    entries = [
        entry("embedding.weight", (config.vocab_size, width), "embed_tokens.weight"),
        entry("final_norm.weight", (width,), "norm.weight"),
    ]
    if not config.tied_head:
        entries.append(entry("untied_head.weight", (config.vocab_size, width), "lm_head.weight"))
    norms = ("input_layernorm", "post_attention_layernorm")
    if config.norm_order == "after":
        norms = ("post_attention_layernorm", "post_feedforward_layernorm")
    for layer in range(config.layers):
        ours, theirs = f"blocks.{layer}.", f"layers.{layer}."
        attention, mlp = f"{theirs}self_attn.", f"{theirs}mlp."
        entries += [
            entry(f"{ours}attention_norm.weight", (width,), f"{theirs}{norms[0]}.weight"),
            entry(f"{ours}mlp_norm.weight", (width,), f"{theirs}{norms[1]}.weight"),
            entry(f"{ours}attention.out.weight", (width, heads), f"{attention}o_proj.weight"),
            *_query_key_value(f"{ours}attention.qkv", attention, config),
        ]
        if config.out_bias:
            entries.append(entry(f"{ours}attention.out.bias", (width,), f"{attention}o_proj.bias"))
        if config.qk_norm:
            whole = config.qk_norm_over == "all"
            for name, size in (("q_norm", heads), ("k_norm", kv_heads)):
                shape = (size if whole else head_dim,)
                entries.append(entry(f"{ours}attention.{name}.weight", shape, f"{attention}{name}.weight"))
        entries += dense_mlp(ours, mlp, config)
    return entries


def _query_key_value(ours: str, theirs: str, config: DecoderConfig) -> list[Entry]:
    sizes = [size * config.head_dim for size in (config.heads, config.kv_heads, config.kv_heads)]
    entries = []
    for kind, rest in (("weight", (config.width,)), ("bias", ())):
        if kind == "weight" or config.qkv_bias:
            pieces = tuple(
                entry("", (size, *rest), f"{theirs}{name}_proj.{kind}").pieces[0]
                for name, size in zip("qkv", sizes, strict=True)
            )
            entries.append(Entry(f"{ours}.{kind}", (sum(sizes), *rest), pieces))
    return entries


def dense_mlp(ours: str, theirs: str, config: DecoderConfig) -> list[Entry]:
    """The entries of one SwiGLU."""
    width, inner = config.width, config.mlp_width
    entries = [
        entry(f"{ours}mlp.gate_up.weight", (2 * inner, width), f"{theirs}gate_proj.weight", f"{theirs}up_proj.weight"),
        entry(f"{ours}mlp.down.weight", (width, inner), f"{theirs}down_proj.weight"),
    ]
    if config.mlp_bias:
        entries += [
            entry(f"{ours}mlp.gate_up.bias", (2 * inner,), f"{theirs}gate_proj.bias", f"{theirs}up_proj.bias"),
            entry(f"{ours}mlp.down.bias", (width,), f"{theirs}down_proj.bias"),
        ]
    return entries
