"""CLIP as transformers saves it: ``CLIPModel`` or ``CLIPVisionModel``. Also DFN and LAION encoders in that form.

What comes out is the last layer's patches before ``post_layernorm``, which CLIP itself gives to its class token only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact, refuse_quantised
from mm15.interop.names import Entry
from mm15.interop.vision._common import ACTIVATIONS, Names, pixel_statistics, tile_size, vision_entries
from mm15.model.sizes import CLIP_MEAN, CLIP_STD, VisionConfig

SCOPES = ("vision_tower.vision_model.", "vision_model.")
IGNORED = (
    r"^(text_model|text_projection|visual_projection)\b",
    r"^logit_scale$",
    r"position_ids$",
    r"^post_layernorm\.",
)
NAMES = Names(
    patch="embeddings.patch_embedding.",
    class_token="embeddings.class_embedding",
    positions="embeddings.position_embedding.weight",
    pre_norm="pre_layrnorm.",  # sic
    final_norm="post_layernorm.",
    block="encoder.layers.{}.",
    attention_norm="layer_norm1.",
    mlp_norm="layer_norm2.",
    qkv=("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    out="self_attn.out_proj.",
    up="mlp.fc1.",
    down="mlp.fc2.",
)


def claims(raw: Mapping[str, Any]) -> bool:
    """A config of ``CLIPModel`` or of its vision part."""
    return raw.get("model_type") in ("clip", "clip_vision_model")


def read_config(raw: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> VisionConfig:
    """What a config leaves out has the value of transformers' class: ViT-B/32 with quick-GELU."""
    fields = Fields(raw.get("vision_config") or raw, "config.json")
    refuse_quantised(fields)
    fields.refuse("num_channels", (3,), "pictures have three channels")
    patch = fields.integer("patch_size", 32)
    values = {
        "patch_size": patch,
        "image_size": tile_size(fields, fields.integer("image_size", 224), patch),
        "width": fields.integer("hidden_size", 768),
        "layers": fields.integer("num_hidden_layers", 12),
        "heads": fields.integer("num_attention_heads", 12),
        "mlp_width": fields.integer("intermediate_size", 3072),
        "activation": fields.choice("hidden_act", ACTIVATIONS, "quick_gelu"),
        "norm_eps": fields.number("layer_norm_eps", 1e-5),
        **pixel_statistics(fields, preprocessor, "image_mean", "image_std", (CLIP_MEAN, CLIP_STD)),
    }
    fields.close()
    return VisionConfig(class_token=True, pre_norm=True, patch_bias=False, final_norm=False, **values)


def write_config(config: VisionConfig) -> dict[str, Any]:
    """The config of ``CLIPVisionModel``. Raises ``ConfigError`` where the family lacks something."""
    expected = {"class_token": True, "pre_norm": True, "patch_bias": False, "final_norm": False}
    inexact(
        "CLIP",
        [f"{name}: the family has {value}" for name, value in expected.items() if getattr(config, name) != value],
    )
    return {"model_type": "clip_vision_model", **write_common(config)}


def write_common(config: VisionConfig) -> dict[str, Any]:
    """What the vision configs of CLIP and SigLIP state alike."""
    activations = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    return {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "hidden_act": activations[config.activation],
        "layer_norm_eps": config.norm_eps,
    }


def entries(config: VisionConfig) -> list[Entry]:
    """Names below ``vision_model.``, which newer files of ``CLIPVisionModel`` leave out. ``post_layernorm`` has no
    counterpart here: a writer adds ones and zeros."""
    return vision_entries(config, NAMES)
