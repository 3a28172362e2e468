"""Bundles of many kinds for the tests of exports."""

from __future__ import annotations

import string
from typing import Any

import torch

from mm15.bundle import Bundle
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import CLIP_MEAN, CLIP_STD, SIZES, ModelConfig, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import CHATML, SPECIALS, TemplateConfig
from mm15.text.tokenizer import Tokenizer, train_tokenizer

CHATML_SPECIALS = ("<|image_pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
CLIP = {
    "class_token": True,
    "pre_norm": True,
    "patch_bias": False,
    "final_norm": False,
    "norm_eps": 1e-5,
    "activation": "quick_gelu",
    "mean": CLIP_MEAN,
    "std": CLIP_STD,
}
QWEN2 = {"qk_norm": False, "qkv_bias": True, "tied_head": False}
LLAMA = {"qk_norm": False, "tied_head": False, "head_dim": 20}


def tokenizer_of(template: TemplateConfig) -> Tokenizer:
    specials = CHATML_SPECIALS if template.user == CHATML.user else SPECIALS
    if template.image == "<image>":
        specials = (*specials, "<image>", "<fake_token_around_image>", "<end_of_utterance>")
    return train_tokenizer([string.printable], specials, words=["(0,0,0)", "(0,1,1)", " the", "(1,0,0)"])


def made_bundle(
    split: dict[str, Any] | None = None,
    template: TemplateConfig | None = None,
    seed: int = 0,
    max_tokens: int = 4096,
    **changes: dict[str, Any],
) -> Bundle:
    """A bundle of size debug with ``vision``, ``connector`` and ``decoder`` changed, no parameter at its start."""
    template = template or TemplateConfig()
    tokenizer = tokenizer_of(template)
    raw = SIZES["debug"].model_dump()
    for part, values in changes.items():
        raw[part] |= values
    config = ModelConfig.model_validate(raw)
    config = with_vocab(config, tokenizer.vocab_size + 3, tokenizer.special(template.image))
    model = MultimodalModel(config)
    model.init_weights(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    values = ProcessorConfig(
        split=SplitPolicy(**({"tile": config.vision.image_size} | (split or {}))),
        tokens_per_tile=config.connector.tokens,
        template=template,
        max_tokens=max_tokens,
    )
    return Bundle(model, Processor(values, tokenizer), {}, {})
