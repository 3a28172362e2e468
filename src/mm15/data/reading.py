"""How samples become tokens before there is a model: a processor from a recipe, a bundle's files, or a tokenizer."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import field_validator

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict, validate
from mm15.base.errors import ConfigError
from mm15.bundle import PROCESSOR, TOKENIZER
from mm15.data.open import Opened
from mm15.images.split import SplitPolicy
from mm15.model.sizes import SIZES
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import Tokenizer, train_tokenizer

NO_LIMIT = 1 << 30
"""``max_tokens`` where nobody has set one: looking at data refuses no length."""


class Reading(Strict):
    """The part of a recipe that says how its samples become tokens; defaults are the paper's."""

    size: str = ""
    tokenizer: str = TOKENIZER
    split: SplitPolicy = SplitPolicy()
    answer_split: SplitPolicy | None = None
    max_tokens: int = NO_LIMIT

    @field_validator("size")
    @classmethod
    def _known_size(cls, value: str) -> str:
        if value and value not in SIZES:
            raise ValueError(f"unknown size{did_you_mean(value, SIZES)}; known: {', '.join(SIZES)}")
        return value


@dataclass(frozen=True, slots=True)
class Reader:
    """A processor, and in words where it comes from."""

    processor: Processor
    told: str


def reader_of(opened: Opened, tokenizer: str | Path = "") -> Reader:
    """The processor for sources that were opened.

    The split is the recipe's, else the bundle's, else the paper's (2x2 to 3x3 tiles of 672 px). The tokenizer is the
    one given, else the recipe's or a ``tokenizer.json`` beside the data; where there is none every character is a
    token, and ``told`` says so.

    Args:
        tokenizer: a ``tokenizer.json`` (of any model: our special tokens are added where they lack), or a bundle.

    Raises:
        ConfigError: no such tokenizer, or a recipe whose values are wrong.
        BundleError: a tokenizer that is none.
    """
    fields = {name: value for name, value in opened.recipe.items() if name in Reading.model_fields}
    reading = validate(Reading, fields, "recipe")
    values: dict[str, Any] = {"split": reading.split, "max_tokens": reading.max_tokens}
    split = "the split of the recipe" if opened.recipe else "MM1.5's split (4 to 9 tiles of 672 px and the whole)"
    if reading.size:
        values["tokens_per_tile"] = SIZES[reading.size].connector.tokens
    chosen = Path(tokenizer) if tokenizer else opened.folder / reading.tokenizer
    if tokenizer and chosen.is_dir():
        bundled, chosen = _bundled(chosen), chosen / TOKENIZER
        values = {"split": bundled.split, "max_tokens": NO_LIMIT} | (values if opened.recipe else {})
        values |= {"tokens_per_tile": bundled.tokens_per_tile, "template": bundled.template}
        split = split if opened.recipe else "the split of the bundle"
    if not chosen.is_file():
        if tokenizer:
            raise ConfigError([f"no such tokenizer: {chosen}"], "--tokenizer")
        made = train_tokenizer([string.printable], SPECIALS)
        told = "no tokenizer was given or found beside the data: every character is a token"
        return Reader(Processor(ProcessorConfig.model_validate(values), made), f"{told}; {split}")
    read = Tokenizer.from_file(chosen)
    config = ProcessorConfig.model_validate(values)
    missing = [name for name in SPECIALS if name not in read.specials]
    if missing and "template" not in values:
        read = read.with_specials(SPECIALS)
    return Reader(Processor(config, read), f"tokens of {chosen}; {split}")


def _bundled(folder: Path) -> ProcessorConfig:
    """What a bundle says of its processor; the weights beside it are not touched."""
    file = folder / PROCESSOR
    try:
        return validate(ProcessorConfig, json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, ValueError) as error:
        raise ConfigError([f"not a bundle, its {PROCESSOR} cannot be read: {error}"], str(folder)) from error
