"""CLIP encoders with the names of open_clip (``visual.transformer.resblocks``), such as DFN ViT-H/14-378.

The activation stands in ``open_clip_config.json`` (``quick_gelu``): DFN and OpenAI weights need it, LAION's must not
have it. What comes out is the last layer's patches before ``ln_post``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields
from mm15.interop.names import Entry
from mm15.interop.vision._common import Names, pixel_statistics, tile_size, vision_entries
from mm15.model.sizes import CLIP_MEAN, CLIP_STD, VisionConfig

SCOPES = ("visual.",)
IGNORED = (
    r"^(transformer|token_embedding|ln_final|text)\.",
    r"^(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask)$",
    r"^(proj|ln_post\..*|attn_pool\..*)$",
)
NAMES = Names(
    patch="conv1.",
    class_token="class_embedding",
    positions="positional_embedding",
    pre_norm="ln_pre.",
    final_norm="ln_post.",
    block="transformer.resblocks.{}.",
    attention_norm="ln_1.",
    mlp_norm="ln_2.",
    qkv=("attn.in_proj_",),
    out="attn.out_proj.",
    up="mlp.c_fc.",
    down="mlp.c_proj.",
)
OTHER_BLOCKS = ("ls_init_value", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn")


def claims(raw: Mapping[str, Any]) -> bool:
    """An ``open_clip_config.json`` whose encoder is open_clip's own."""
    vision = raw.get("model_cfg", {}).get("vision_cfg", {})
    return bool(vision) and not vision.get("timm_model_name")


def read_config(raw: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> VisionConfig:
    """What a config leaves out has the value of open_clip's ``CLIPVisionCfg``."""
    model = raw["model_cfg"]
    fields = Fields(model["vision_cfg"], "open_clip_config.json: vision_cfg")
    if not isinstance(fields.raw.get("layers", 12), int):
        fields.problems.append(f"layers: {fields.raw['layers']!r} is a ResNet, which is not supported")
        fields.close()
    for name in (*OTHER_BLOCKS, "scale_fc", "act_kwargs"):
        fields.refuse(name, (False,), "blocks other than CLIP's own")
    fields.refuse("pos_embed_type", ("learnable",), "positions other than a learned table")
    fields.refuse("block_type", ("default",), "blocks other than CLIP's own")
    width, patch = fields.integer("width", 768), fields.integer("patch_size", 16)
    values = {
        "patch_size": patch,
        "image_size": tile_size(fields, fields.integer("image_size", 224), patch),
        "width": width,
        "layers": fields.integer("layers", 12),
        "heads": width // fields.integer("head_width", 64),
        "mlp_width": int(width * fields.number("mlp_ratio", 4.0)),
        "activation": "quick_gelu" if Fields(model, "").flag("quick_gelu", False) else "gelu",
        "pre_norm": not fields.flag("no_ln_pre", False),
        "norm_eps": float((fields.raw.get("norm_kwargs") or {}).get("eps", 1e-5)),
        **pixel_statistics(fields, raw.get("preprocess_cfg") or {}, "mean", "std", (CLIP_MEAN, CLIP_STD)),
    }
    fields.close()
    return VisionConfig(class_token=True, patch_bias=False, final_norm=False, **values)


def entries(config: VisionConfig) -> list[Entry]:
    """Names below ``visual.``."""
    return vision_entries(config, NAMES)
