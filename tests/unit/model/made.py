"""Made-up samples and models for the tests of the model room."""

from __future__ import annotations

import torch

from mm15.base.batch import IGNORE, EncodedSample
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, ModelConfig

DEBUG = SIZES["debug"]


def model(config: ModelConfig = DEBUG, seed: int = 0) -> MultimodalModel:
    """A model with every one-dimensional parameter away from its start, so that no bias or norm is idle."""
    made = MultimodalModel(config)
    made.init_weights(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made


def sample(num_text: int, num_tiles: int, seed: int = 0, config: ModelConfig = DEBUG) -> EncodedSample:
    """Text, the tiles in two runs with a word between them, text; every other text position is trained."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(2, config.decoder.vocab_size, (num_text + 1,), generator=generator)
    image = torch.full((config.connector.tokens,), config.image_token)
    before = num_text // 2
    tokens = torch.cat(
        [words[:before], image.repeat(num_tiles // 2), words[-1:], image.repeat(-(-num_tiles // 2)), words[before:-1]]
    )
    labels = tokens.roll(-1)
    labels[(labels == config.image_token) | (torch.arange(len(tokens)) % 2 == 0)] = IGNORE
    labels[-1] = IGNORE
    size = config.vision.image_size
    tiles = torch.randint(0, 256, (num_tiles, 3, size, size), generator=generator, dtype=torch.uint8)
    return EncodedSample(tokens, labels, tiles, f"made/{seed}", "made", "general")
