"""Our model as ``Idefics3ForConditionalGeneration`` (arXiv 2408.12637): what must be the same, configs, tensors.

Its rule of splitting is ``SplitMode.FILL``, its position tags are ``Indicator.TAGS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mm15.images.split import Indicator, Overview, SplitMode, SplitPolicy
from mm15.interop.hf_model import Towers
from mm15.interop.names import scatter
from mm15.model.sizes import ModelConfig, VisionConfig
from mm15.model.vit import normalise
from mm15.text.template import TemplateConfig
from mm15.text.tokenizer import Tokenizer

IMAGE, SPECIALS = "<image>", ("<image>", "<fake_token_around_image>", "<end_of_utterance>")
"""Names that the type's processor has built in; the last is not used here, but the processor adds it where it lacks."""
MOST_PX = 4096
"""The type shrinks longer sides to this."""


def idefics3_problems(
    config: ModelConfig,
    parts: Towers,
    policy: SplitPolicy,
    template: TemplateConfig,
    tokenizer: Tokenizer,
    max_tokens: int,
) -> list[str]:
    """Why a model is not exactly an ``idefics3``, each with the change that would make it one."""
    problems = []
    kind, family = config.connector.kind, parts.llm_config["model_type"]
    if kind != "pixel-shuffle":
        problems.append(f"connector.kind '{kind}': idefics3 has a pixel shuffle; train with kind: pixel-shuffle")
    if parts.vision_config["model_type"] != "siglip_vision_model":
        problems.append("vision: idefics3 has a SigLIP encoder; train with one (no class token, a norm at the end)")
    elif not positions_kept(config.vision.grid):
        problems.append(
            f"vision: {config.vision.grid} x {config.vision.grid} patches: the type finds the place of a patch by a "
            "division in fp32, which errs for this grid; train with another tile (16, 24, 27, 32 and 48 patches are "
            "exact)"
        )
    if vanishes(config.vision):
        problems.append("vision.mean: idefics3 drops tiles that are zero throughout, and one colour is; train with 0.5")
    if family != "llama":
        problems.append(f"decoder '{family}': readers of idefics3 know llama; train with a decoder of that kind")
    if policy.mode is not SplitMode.FILL:
        problems.append(f"split.mode '{policy.mode}': idefics3 stretches pictures; train with split.mode: fill")
    if policy.overview is not Overview.AFTER:
        problems.append(f"split.overview '{policy.overview}': idefics3 puts it last; train with overview: after")
    if policy.indicator is not Indicator.TAGS:
        problems.append(f"split.indicator '{policy.indicator}': idefics3 writes tags; train with indicator: tags")
    along = policy.along(policy.max_split_images > 0)
    if along * policy.tile > MOST_PX:
        problems.append(
            f"split: {along} tiles of {policy.tile} px are more than {MOST_PX} px, to which idefics3 shrinks; "
            f"train with n_max: {(MOST_PX // policy.tile) ** 2}"
        )
    least = (along + 1) * config.connector.tokens
    if along > 1 and (policy.max_split_images + 1) * least <= max_tokens:
        problems.append(
            f"split.max_split_images {policy.max_split_images}: idefics3 splits every picture, and more of them fit "
            f"into {max_tokens} tokens; answer with max_split_images: {max_tokens // least}"
        )
    if template.image != IMAGE:
        problems.append(f"template.image '{template.image}': idefics3 calls it '{IMAGE}'; import with --tags")
    if missing := [name for name in SPECIALS if name not in tokenizer.specials]:
        problems.append(f"tokenizer: idefics3 needs the special tokens {', '.join(missing)}; import with --tags")
    return problems


def positions_kept(grid: int) -> bool:
    """Whether the type gives every patch of a whole tile its own position.

    It looks up k / grid among the multiples of 1 / grid, both rounded to fp32: for some grids a neighbour is found.
    """
    borders = torch.arange(1 / grid, 1.0, 1 / grid)
    places = torch.arange(grid, dtype=torch.float32) * (1.0 / torch.tensor([grid]))
    found = torch.bucketize(places.clamp(max=1.0 - 1e-6), borders, right=True)
    return found.tolist() == list(range(grid))


def vanishes(config: VisionConfig) -> bool:
    """Whether a tile of one colour is zero throughout when it is normalised."""
    ramp = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 1, 1)
    return bool((normalise(ramp, config.mean, config.std) == 0).any(0).all())


def idefics3_files(config: ModelConfig, parts: Towers, policy: SplitPolicy) -> dict[str, dict[str, Any]]:
    """``config.json`` and the two of the processor."""
    vision = config.vision
    image_processor = {
        "image_processor_type": "Idefics3ImageProcessor",
        "processor_class": "Idefics3Processor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": policy.tile * policy.along(policy.max_split_images > 0)},
        "resample": 3,
        "do_image_splitting": True,
        "max_image_size": {"longest_edge": policy.tile},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": vision.mean,
        "image_std": vision.std,
        "do_pad": True,
    }
    tower = {key: value for key, value in parts.vision_config.items() if key != "vision_use_head"}
    return {
        "config.json": {
            "model_type": "idefics3",
            "architectures": ["Idefics3ForConditionalGeneration"],
            "vision_config": tower | {"model_type": "idefics3_vision"},
            "text_config": parts.llm_config,
            "tie_word_embeddings": config.decoder.tied_head,
            "scale_factor": vision.grid // round(config.connector.tokens**0.5),
            "image_token_id": config.image_token,
        },
        "processor_config.json": {
            "processor_class": "Idefics3Processor",
            "image_seq_len": config.connector.tokens,
            "image_processor": image_processor,
        },
        "preprocessor_config.json": image_processor,
    }


def idefics3_state(config: ModelConfig, parts: Towers, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of ``Idefics3ForConditionalGeneration``."""
    vision = {name.removeprefix("vision."): tensor for name, tensor in state.items() if name.startswith("vision.")}
    decoder = {name.removeprefix("decoder."): tensor for name, tensor in state.items() if name.startswith("decoder.")}
    for name, tensor in scatter(parts.vision.entries(config.vision), vision):
        yield f"model.vision_model.{name}", tensor
    yield "model.connector.modality_projection.proj.weight", state["connector.projection.weight"]
    for name, tensor in scatter(parts.llm.entries(config.decoder), decoder):
        yield name if name == "lm_head.weight" else f"model.text_model.{name}", tensor
