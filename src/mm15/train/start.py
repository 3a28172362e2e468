"""What a stage begins with: the model, the source of its weights where it has none in memory, and the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from mm15.base.errors import ConfigError
from mm15.bundle import bundle_folder, load_bundle
from mm15.model.lora import attach
from mm15.model.multimodal import MultimodalModel
from mm15.model.resize import with_tile_size
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import TemplateConfig
from mm15.text.tokenizer import Tokenizer
from mm15.train.recipe import Recipe, StageName
from mm15.train.weights import FreshWeights, SavedWeights, Weights


@dataclass(frozen=True, slots=True)
class Start:
    """``weights`` is None where the model has its own; else the model is on the meta device (``weights.fill``)."""

    model: MultimodalModel
    processor: Processor
    weights: Weights | None


def by_parts(recipe: Recipe) -> bool:
    """Whether ranks read their parts of the weights and none holds the whole. Not in the encoder stage: it trains a
    part of a model, and what it leaves alone goes into its bundle too."""
    return recipe.train.parallel.shares_out and recipe.stage is not StageName.ENCODER


def start_of(recipe: Recipe, data: Path, init: str | Path | None, in_memory: bool = True) -> Start:
    """The start of a stage, from a bundle or from nothing.

    Args:
        data: folder of the tokenizer, where there is no bundle.
        init: bundle.
        in_memory: the model gets its weights now; otherwise it is on the meta device.

    Raises:
        BundleError: what is wrong with the bundle.
        ConfigError: no tokenizer, a tile size that a new model does not have, wrong adapters.
    """
    device = torch.device("cpu" if in_memory else "meta")
    grid = None
    if init is not None:
        # An imported bundle may be kept in bfloat16.
        bundle = load_bundle(init, device, dtype=torch.float32)
        model, tokenizer, template = bundle.model, bundle.processor.tokenizer, bundle.processor.config.template
        grid = model.config.vision.grid
        if recipe.split.tile != model.config.vision.image_size:
            model = with_tile_size(model, recipe.split.tile)
    else:
        template = TemplateConfig()
        path = data / recipe.tokenizer
        if not path.is_file():
            raise ConfigError(
                [
                    f"tokenizer: no such file: {path} (give --set tokenizer=FILE, the tokenizer.json of a bundle; for "
                    "training --from BUNDLE; or build the data first)"
                ],
                "recipe",
            )
        tokenizer = Tokenizer.from_file(path)
        size = with_vocab(SIZES[recipe.size], tokenizer.vocab_size, tokenizer.special(template.image))
        if recipe.split.tile != size.vision.image_size:
            raise ConfigError(
                [f"split.tile is {recipe.split.tile}, size {recipe.size} sees {size.vision.image_size} px"]
            )
        with device:
            model = MultimodalModel(size)
        if in_memory:
            model.init_weights(recipe.seed)
    if recipe.train.lora:
        attach(model, recipe.train.lora.targets, recipe.train.lora.rank, recipe.train.lora.alpha, recipe.seed)
    weights: Weights | None = None
    if not in_memory:
        weights = FreshWeights(model, recipe.seed)
        if init is not None and grid is not None:
            weights = SavedWeights(bundle_folder(init), (grid, model.config.vision.grid), weights)
    config = ProcessorConfig(
        split=recipe.split,
        answer_split=recipe.answer_split,
        tokens_per_tile=model.config.connector.tokens,
        template=template,
        max_tokens=recipe.max_tokens,
    )
    return Start(model, Processor(config, tokenizer), weights)
