"""What the CLIP-like families share: names of tensors under three spellings, and the pixel statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mm15.interop.fields import Fields
from mm15.interop.names import Entry, Piece, entry
from mm15.model.sizes import VisionConfig

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
"""Names of transformers → ours."""


class Names(NamedTuple):
    """How a project calls the parts of a vision transformer."""

    patch: str
    class_token: str
    positions: str
    pre_norm: str
    final_norm: str
    block: str
    attention_norm: str
    mlp_norm: str
    qkv: tuple[str, ...]
    """One fused projection, or three. ``.`` or ``_`` at the end: what stands between it and weight or bias."""
    out: str
    up: str
    down: str
    class_shape: tuple[int, ...] = ()
    """Axes of length 1 in front of the class token's width."""
    positions_shape: tuple[int, ...] = ()
    """Axes of length 1 in front of the position table."""


def vision_entries(config: VisionConfig, names: Names) -> list[Entry]:
    """The whole map of an encoder, ``names.block`` with ``{}`` for the number of the layer."""
    width, inner, patch = config.width, config.mlp_width, config.patch_size
    rows = config.num_patches + int(config.class_token)
    kernel = Piece(f"{names.patch}weight", (width, 3, patch, patch))
    table = Piece(names.positions, (*names.positions_shape, rows, width))
    entries = [
        Entry("patch.weight", (width, 3 * patch**2), (kernel,)),
        Entry("positions.weight", (rows, width), (table,)),
    ]
    if config.patch_bias:
        entries.append(entry("patch.bias", (width,), f"{names.patch}bias"))
    if config.class_token:
        token = Piece(names.class_token, (*names.class_shape, width))
        entries.append(Entry("class_token.weight", (1, width), (token,)))
    for kind, rest in (("weight", (width,)), ("bias", ())):
        is_weight = kind == "weight"
        if config.pre_norm:
            entries.append(entry(f"pre_norm.{kind}", (width,), f"{names.pre_norm}{kind}"))
        if config.final_norm:
            entries.append(entry(f"final_norm.{kind}", (width,), f"{names.final_norm}{kind}"))
        for layer in range(config.layers):
            ours, theirs = f"blocks.{layer}.", names.block.format(layer)
            qkv = [f"{theirs}{name}{kind}" for name in names.qkv]
            down = (width, inner) if is_weight else (width,)
            entries += [
                entry(f"{ours}attention_norm.{kind}", (width,), f"{theirs}{names.attention_norm}{kind}"),
                entry(f"{ours}qkv.{kind}", (3 * width, *rest), *qkv),
                entry(f"{ours}out.{kind}", (width, *rest), f"{theirs}{names.out}{kind}"),
                entry(f"{ours}mlp_norm.{kind}", (width,), f"{theirs}{names.mlp_norm}{kind}"),
                entry(f"{ours}up.{kind}", (inner, *rest), f"{theirs}{names.up}{kind}"),
                entry(f"{ours}down.{kind}", down, f"{theirs}{names.down}{kind}"),
            ]
    return entries


def tile_size(fields: Fields, image: int, patch: int) -> int:
    """The pixels that whole patches cover: a convolution leaves the rest of 384 px at patches of 14 unread."""
    if image < patch:
        fields.problems.append(f"image_size: {image} px is smaller than a patch of {patch} px")
        return patch
    return image // patch * patch


def pixel_statistics(fields: Fields, raw: Mapping[str, Any], mean: str, std: str, default: Any) -> dict[str, Any]:
    """Mean and standard deviation of the pixels, as a preprocessor's config states them, or the family's own."""
    values = {}
    for ours, theirs, fallback in (("mean", mean, default[0]), ("std", std, default[1])):
        value = raw.get(theirs)
        value = fallback if value is None else value
        if isinstance(value, int | float):
            value = [value] * 3
        if len(value) != 3 or not all(isinstance(x, int | float) for x in value):
            fields.problems.append(f"{theirs}: expected three numbers, found {value!r}")
            value = fallback
        values[ours] = tuple(float(x) for x in value)
    return values
