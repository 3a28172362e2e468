"""A trained model for tiles of another size: the position tables are resized, everything else is kept."""

from __future__ import annotations

import torch

from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import ModelConfig
from mm15.model.vit import resize_positions

TABLES = ("vision.positions.weight", "connector.positions.weight")
"""Both tables depend on the number of patches (378 → 672 px: 27² → 48² rows)."""


def with_tile_size(model: MultimodalModel, image_size: int) -> MultimodalModel:
    """The same model for ``image_size`` px tiles: bicubic resize of encoder and connector positions, once, in fp32.

    Raises:
        ValueError: the size is not a multiple of the patch size.
    """
    raw = model.config.model_dump()
    raw["vision"]["image_size"] = image_size
    config = ModelConfig.model_validate(raw)
    old, new = model.config.vision.grid, config.vision.grid
    state = {
        name: resize_positions(tensor, old, new) if name in TABLES else tensor
        for name, tensor in model.state_dict().items()
    }
    with torch.device("meta"):
        resized = MultimodalModel(config, model.compute_dtype)
    resized.load_state_dict(state, strict=True, assign=True)
    return resized
