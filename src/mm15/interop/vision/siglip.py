"""SigLIP, and SigLIP 2 of fixed resolution, as transformers saves them (``SiglipModel`` or ``SiglipVisionModel``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields, inexact, refuse_quantised
from mm15.interop.names import Entry
from mm15.interop.vision import clip
from mm15.interop.vision._common import ACTIVATIONS, pixel_statistics, tile_size, vision_entries
from mm15.model.sizes import HALF, VisionConfig

SCOPES = clip.SCOPES
IGNORED = (r"^text_model\b", r"^logit_(scale|bias)$", r"position_ids$", r"^head\.")
"""``head.`` is the attention pooling of its contrastive training."""


def claims(raw: Mapping[str, Any]) -> bool:
    """A config of ``SiglipModel`` or its vision part. NaFlex (``siglip2``) is recognised here to be refused by name."""
    return raw.get("model_type") in ("siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model")


def read_config(raw: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> VisionConfig:
    """What a config leaves out has the value of transformers' class: ViT-B/16 with tanh-GELU."""
    fields = Fields(raw.get("vision_config") or raw, "config.json")
    if str(raw.get("model_type")).startswith("siglip2"):
        fields.problems.append(
            "model_type: 'siglip2' is the NaFlex variant of flexible shapes, which is not supported; supported: SigLIP "
            "and the SigLIP 2 releases of fixed resolution (model_type 'siglip', e.g. siglip2-so400m-patch14-384)"
        )
        fields.close()
    refuse_quantised(fields)
    fields.refuse("num_channels", (3,), "pictures have three channels")
    patch = fields.integer("patch_size", 16)
    values = {
        "patch_size": patch,
        "image_size": tile_size(fields, fields.integer("image_size", 224), patch),
        "width": fields.integer("hidden_size", 768),
        "layers": fields.integer("num_hidden_layers", 12),
        "heads": fields.integer("num_attention_heads", 12),
        "mlp_width": fields.integer("intermediate_size", 3072),
        "activation": fields.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
        "norm_eps": fields.number("layer_norm_eps", 1e-6),
        **pixel_statistics(fields, preprocessor, "image_mean", "image_std", (HALF, HALF)),
    }
    fields.close()
    return VisionConfig(class_token=False, pre_norm=False, patch_bias=True, final_norm=True, **values)


def write_config(config: VisionConfig) -> dict[str, Any]:
    """The config of ``SiglipVisionModel`` without its head. Raises ``ConfigError`` where the family lacks something."""
    expected = {"class_token": False, "pre_norm": False, "patch_bias": True, "final_norm": True}
    inexact(
        "SigLIP",
        [f"{name}: the family has {value}" for name, value in expected.items() if getattr(config, name) != value],
    )
    return {"model_type": "siglip_vision_model", "vision_use_head": False, **clip.write_common(config)}


def entries(config: VisionConfig) -> list[Entry]:
    """Names below ``vision_model.``, which newer files of ``SiglipVisionModel`` leave out."""
    return vision_entries(config, clip.NAMES)
