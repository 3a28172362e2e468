"""Our model as the tensors and configs of public types: which family has what it has, and under which names.

``hf`` is our own remote code around an encoder and a decoder of transformers; ``llava`` is a type that transformers,
vLLM, MLX and llama.cpp know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mm15.base.errors import ConfigError
from mm15.interop.checkpoint import llm_families, vision_families
from mm15.interop.names import scatter
from mm15.model.sizes import DecoderConfig, ModelConfig, VisionConfig

MODEL_TYPE = "mm15"
FILES = ("configuration_mm15", "image_processing_mm15", "modeling_mm15", "processing_mm15")
"""The modules of remote code, in ``hf_export``."""
AUTO_MAP = {
    "AutoConfig": "configuration_mm15.MM15Config",
    "AutoModel": "modeling_mm15.MM15Model",
    "AutoModelForImageTextToText": "modeling_mm15.MM15ForConditionalGeneration",
}
PROCESSOR_MAP = {
    "AutoProcessor": "processing_mm15.MM15Processor",
    "AutoImageProcessor": "image_processing_mm15.MM15ImageProcessor",
}
LLAVA_DECODERS = ("llama", "mistral", "qwen2")
"""What the readers of ``llava`` besides transformers know."""


class Towers(NamedTuple):
    """The families that have exactly what our encoder and decoder have, and their configs."""

    vision: ModuleType
    vision_config: dict[str, Any]
    llm: ModuleType
    llm_config: dict[str, Any]


def towers(config: ModelConfig, max_tokens: int) -> Towers:
    """The families of a model's encoder and decoder.

    Args:
        max_tokens: the longest context that the model was made for.

    Raises:
        ConfigError: no family has what the encoder or the decoder has; each says what it lacks.
    """
    problems: list[str] = []
    vision = _first(vision_families(), config.vision, problems, "vision")
    llm = _first(llm_families(), config.decoder, problems, "decoder", max_tokens)
    if vision is None or llm is None:
        raise ConfigError(problems, "export")
    return Towers(*vision, *llm)


def _first(
    families: Mapping[str, ModuleType], config: VisionConfig | DecoderConfig, problems: list[str], what: str, *more: int
) -> tuple[ModuleType, dict[str, Any]] | None:
    said = []
    for module in families.values():
        if not hasattr(module, "write_config"):
            continue
        try:
            return module, module.write_config(config, *more)
        except ConfigError as error:
            said += [f"{what} as {module.__name__.rsplit('.', 1)[-1]}: {problem}" for problem in error.problems]
    problems += said
    return None


def hf_config(config: ModelConfig, parts: Towers) -> dict[str, Any]:
    """``config.json`` of our remote code."""
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["MM15ForConditionalGeneration"],
        "auto_map": AUTO_MAP,
        "connector": config.connector.model_dump(),
        **_shared(config, parts),
        "image_token_id": config.image_token,
    }


def hf_state(config: ModelConfig, parts: Towers, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of ``MM15ForConditionalGeneration``, whose connectors have our names."""
    yield from _tower_state(config, parts, state)
    for name, tensor in state.items():
        if name.startswith("connector."):
            yield f"model.multi_modal_projector.{name.removeprefix('connector.')}", tensor


def llava_problems(config: ModelConfig, parts: Towers, split_mode: str, indicator: str) -> list[str]:
    """Why a model is not exactly a ``llava``, each with the change that would make it one."""
    network = _llava_network(config, parts)
    problems = []
    if split_mode != "none":
        problems.append(f"split.mode '{split_mode}': llava sees a picture in one tile; answer with split.mode: none")
    if indicator in ("index", "tags"):
        problems.append(
            f"split.indicator '{indicator}': llava writes no text around a picture; train with indicator: none"
        )
    return network + problems


def _llava_network(config: ModelConfig, parts: Towers) -> list[str]:
    kind, family = config.connector.kind, parts.llm_config["model_type"]
    problems = []
    if kind != "mlp":
        tokens = config.vision.num_patches
        problems.append(f"connector.kind '{kind}': llava has an MLP per patch; train with kind: mlp, tokens: {tokens}")
    if config.vision.final_norm:
        problems.append(
            "vision.final_norm: llava takes the last layer without a norm behind it; train with a CLIP encoder"
        )
    if family not in LLAVA_DECODERS:
        known = ", ".join(LLAVA_DECODERS)
        problems.append(f"decoder '{family}': readers of llava know {known}; train with a decoder of one of them")
    return problems


def llava_next_problems(config: ModelConfig, parts: Towers, split_mode: str) -> list[str]:
    """Why no model is a ``llava_next``, and what else this one lacks.

    The smallest choice of its grids, ``image_grid_pinpoints: [[r, r]]``, still sees a picture twice, in P positions and
    in P + rows; none makes it one run of positions a tile.
    """
    patches, grid = config.vision.num_patches, config.vision.grid
    problems = [
        "image_newline: llava_next ends every row of patches with a learned vector, across all tiles; a tile here is "
        f"one run of tokens. No change of config allows it: even its smallest grid takes {patches} + {patches + grid} "
        f"positions for one picture of {grid} x {grid} patches. Export with --to hf; or train for --to llava "
        "(split.mode: none) or --to idefics3 (split.mode: fill)",
        "unpad: llava_next cuts the features of the padding off, by the picture's size; here they stay",
        "overview: llava_next puts the whole picture first and squeezes it into a square",
    ]
    if split_mode == "none":
        problems.append("split.mode 'none': llava_next always has the whole picture and at least one tile")
    known = ("llava", "llava_next")
    return problems + [problem.replace(*known) for problem in _llava_network(config, parts)]


def llava_config(config: ModelConfig, parts: Towers) -> dict[str, Any]:
    """``config.json`` of ``LlavaForConditionalGeneration``: features of the last layer."""
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        **_shared(config, parts),
        "image_token_index": config.image_token,
        "image_seq_length": config.vision.num_patches,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }


def llava_state(config: ModelConfig, parts: Towers, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of ``LlavaForConditionalGeneration`` under the names of its files, as all its readers know them."""
    renamed = {"model.vision_tower.": "vision_tower.vision_model.", "model.language_model.": "language_model.model."}
    for name, tensor in _tower_state(config, parts, state):
        if name == "lm_head.weight":
            yield "language_model.lm_head.weight", tensor
        for old, new in renamed.items():
            if name.startswith(old):
                yield new + name.removeprefix(old), tensor
    for ours, theirs in (("first", "linear_1"), ("second", "linear_2")):
        for kind in ("weight", "bias"):
            yield f"multi_modal_projector.{theirs}.{kind}", state[f"connector.{ours}.{kind}"]


def _shared(config: ModelConfig, parts: Towers) -> dict[str, Any]:
    return {
        "vision_config": parts.vision_config,
        "text_config": parts.llm_config,
        "tie_word_embeddings": config.decoder.tied_head,
    }


def _tower_state(config: ModelConfig, parts: Towers, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    vision = {name.removeprefix("vision."): tensor for name, tensor in state.items() if name.startswith("vision.")}
    decoder = {name.removeprefix("decoder."): tensor for name, tensor in state.items() if name.startswith("decoder.")}
    for name, tensor in scatter(parts.vision.entries(config.vision), vision):
        yield f"model.vision_tower.{name}", tensor
    if not config.vision.final_norm:  # CLIP has one for its class token, which we do not use
        yield "model.vision_tower.post_layernorm.weight", torch.ones(config.vision.width)
        yield "model.vision_tower.post_layernorm.bias", torch.zeros(config.vision.width)
    for name, tensor in scatter(parts.llm.entries(config.decoder), decoder):
        yield name if name == "lm_head.weight" else f"model.language_model.{name}", tensor
