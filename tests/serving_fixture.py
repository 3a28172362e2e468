"""A debug model that ends some of its answers, and prompts of all lengths with and without pictures."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from mm15.base.batch import EncodedSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Category, ImagePart, MediaRef, Sample, user
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


def made_processor() -> Processor:
    """Tiles of 16 px and 4 tokens."""
    tokenizer = train_tokenizer(["the quick brown fox, 0123456789?"], SPECIALS)
    return Processor(ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600), tokenizer)


def made_model(processor: Processor) -> MultimodalModel:
    """Weights so large that an untrained model does not say one token for ever, and ends some answers."""
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
        model.decoder.embedding.weight[:256] *= 0.1
    return model


def made_picture(width: int, height: int, seed: int) -> ImagePart:
    """Noise as a PNG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return ImagePart(MediaRef(data=file.getvalue()), width, height)


def made_prompts(processor: Processor, count: int) -> list[EncodedSample]:
    """Two of three with one or two pictures, none of them square."""
    rng = numpy_rng(0, "prompts")
    words = ["the", " quick", " brown", " fox", "?", " 0123", "456"]
    prompts = []
    for number in range(count):
        pictures = []
        for index in range(number % 3):
            width = int(rng.integers(17, 70))
            pictures.append(made_picture(width, width + int(rng.integers(3, 30)), 10 * number + index))
        text = "".join(rng.choice(words, int(rng.integers(1, 30))))
        sample = Sample(f"r{number}", "made", Category.GENERAL, (user(*pictures, text),))
        prompts.append(processor.encode(sample, answering=True))
    return prompts
