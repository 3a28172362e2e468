"""CLIP and SigLIP encoders with the names of timm, alone or as the trunk of an open_clip model.

timm's files name an architecture and no sizes: ``vit_large_patch14_clip_quickgelu_336`` says all there is to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mm15.interop.fields import Fields
from mm15.interop.names import Entry
from mm15.interop.vision._common import Names, pixel_statistics, tile_size, vision_entries
from mm15.model.sizes import CLIP_MEAN, CLIP_STD, HALF, VisionConfig

SCOPES = ("visual.trunk.",)
IGNORED = (
    r"^(text|visual\.head)\.",
    r"^logit_(scale|bias)$",
    r"^(head|attn_pool|fc_norm)\.",
    r"^norm\.",
)
NAMES = Names(
    patch="patch_embed.proj.",
    class_token="cls_token",
    positions="pos_embed",
    pre_norm="norm_pre.",
    final_norm="norm.",
    block="blocks.{}.",
    attention_norm="norm1.",
    mlp_norm="norm2.",
    qkv=("attn.qkv.",),
    out="attn.proj.",
    up="mlp.fc1.",
    down="mlp.fc2.",
    class_shape=(1, 1),
    positions_shape=(1,),
)
SIZES = {
    "small": (384, 12, 6, 4.0),
    "base": (768, 12, 12, 4.0),
    "large": (1024, 24, 16, 4.0),
    "huge": (1280, 32, 16, 4.0),
    "giantopt": (1536, 40, 16, 4.0),
    "so400m": (1152, 27, 16, 3.7362),
}
"""Width, layers, heads and MLP ratio (timm 1.0, ``vision_transformer.py``)."""
NAME = re.compile(r"^vit_(\w+?)_patch(\d+)_(clip|siglip)(_quickgelu)?(?:_gap)?_(\d+)$")
QUICK = ("openai", "dfn", "metaclip")
"""Weights that were trained with quick-GELU; timm also offers them under names that do not have it."""


def claims(raw: Mapping[str, Any]) -> bool:
    """timm's config.json, or an ``open_clip_config.json`` whose encoder is timm's."""
    return bool(_architecture(raw)[0])


def read_config(raw: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> VisionConfig:
    """The sizes of a named architecture; ``model_args`` of the file go before them."""
    name, pixels, where = _architecture(raw)
    found = NAME.match(name)
    # timm's ``model_args`` may well say what the name does not; anything that is not a size is refused below.
    given = dict(raw.get("model_args") or {})
    fields = Fields(given, where)
    if not found or found[1] not in SIZES:
        fields.problems.append(
            f"architecture: '{name}' is not supported; supported: vit_SIZE_patchP_clip_PX, "
            f"vit_SIZE_patchP_clip_quickgelu_PX, vit_SIZE_patchP_siglip_PX with SIZE one of {', '.join(SIZES)}"
        )
        fields.close()
    assert found
    width, layers, heads, ratio = SIZES[found[1]]
    clip, quick = found[3] == "clip", bool(found[4])
    tag = str(pixels.get("tag") or "")
    if clip and not quick and tag.startswith(QUICK):
        fields.problems.append(
            f"architecture: '{name}' has plain GELU, but the weights '{tag}' were trained with quick-GELU; "
            f"use the release under vit_{found[1]}_patch{found[2]}_clip_quickgelu_{found[5]}"
        )
    known = {"embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size", "img_size", "global_pool", "num_classes"}
    fields.problems += [f"model_args.{key}: {given[key]!r} is not supported" for key in sorted(given.keys() - known)]
    width, patch = fields.integer("embed_dim", width), fields.integer("patch_size", int(found[2]))
    image = fields.integer("img_size", (pixels.get("input_size") or [0, 0, int(found[5])])[-1])
    values = {
        "patch_size": patch,
        "image_size": tile_size(fields, image, patch),
        "width": width,
        "layers": fields.integer("depth", layers),
        "heads": fields.integer("num_heads", heads),
        "mlp_width": int(width * fields.number("mlp_ratio", ratio)),
        "activation": "quick_gelu" if quick else "gelu",
        "norm_eps": 1e-5 if clip else 1e-6,
        **pixel_statistics(fields, pixels, "mean", "std", (CLIP_MEAN, CLIP_STD) if clip else (HALF, HALF)),
    }
    fields.close()
    return VisionConfig(class_token=clip, pre_norm=clip, patch_bias=not clip, final_norm=not clip, **values)


def entries(config: VisionConfig) -> list[Entry]:
    """timm's names, without the ``visual.trunk.`` of open_clip."""
    return vision_entries(config, NAMES)


def _architecture(raw: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], str]:
    """The name, what is said about pixels, and in which file."""
    trunk = raw.get("model_cfg", {}).get("vision_cfg", {})
    if trunk.get("timm_model_name"):
        size = {"input_size": [3, trunk.get("image_size"), trunk.get("image_size")]} if trunk.get("image_size") else {}
        return str(trunk["timm_model_name"]), {**(raw.get("preprocess_cfg") or {}), **size}, "open_clip_config.json"
    return str(raw.get("architecture") or ""), raw.get("pretrained_cfg") or {}, "config.json"
