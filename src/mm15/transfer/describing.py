"""A named size or a bundle in numbers: parameters, what a picture costs, memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm15.base.catalogue import did_you_mean
from mm15.base.config import validate
from mm15.base.errors import BundleError, ConfigError
from mm15.bundle import CONFIG, MANIFEST, PROCESSOR
from mm15.images.split import Overview, SplitMode, SplitPolicy
from mm15.model.flops import Description, Splitting, describe, papers_splittings
from mm15.model.sizes import SIZES, ModelConfig
from mm15.processor import ProcessorConfig

CONTEXT = 4096
"""Positions of the sequence whose keys and values are told."""


@dataclass(frozen=True, slots=True)
class Described:
    """``what`` was described, and its numbers."""

    what: str
    config: dict[str, Any]
    numbers: Description


def describe_model(name: str | Path) -> Described:
    """Describe a size by its name, or a bundle by its folder (its weights are not read).

    Raises:
        ConfigError: neither a size nor a folder.
        BundleError: the folder is no bundle, or its configs are wrong.
    """
    if str(name) in SIZES:
        config = SIZES[str(name)]
        return Described(f"size {name}", config.model_dump(), describe(config))
    folder = Path(name)
    if not folder.is_dir():
        raise ConfigError(
            [f"{name} is neither a size{did_you_mean(str(name), SIZES)} nor a folder; sizes: {', '.join(SIZES)}"],
            "describe",
        )
    if not (folder / MANIFEST).exists() and (folder / "bundle" / MANIFEST).exists():
        folder = folder / "bundle"
    config, processor = (_read(schema, folder / file) for schema, file in _FILES)
    policies = {"training": processor.split, "answering": processor.answer_split or processor.split}
    own = [splitting(f"{of}, of this bundle", policy) for of, policy in policies.items()]
    return Described(f"bundle {folder}", config.model_dump(), describe(config, (*own, *_others(config, own))))


_FILES = ((ModelConfig, CONFIG), (ProcessorConfig, PROCESSOR))


def _read(schema: Any, path: Path) -> Any:
    try:
        return validate(schema, json.loads(path.read_text(encoding="utf-8")), path.name)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; {path.parent} is not a bundle, or its copy was not finished") from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON ({error})") from error


def _others(config: ModelConfig, own: Sequence[Splitting]) -> list[Splitting]:
    """The papers' policies for tiles of this bundle's size."""
    tiles = {cut.tile for cut in own}
    return [cut for cut in papers_splittings(config) if cut.tile in tiles]


def splitting(name: str, policy: SplitPolicy) -> Splitting:
    """Least and most tiles under a policy, its overview counted."""
    if policy.mode is SplitMode.NONE:
        return Splitting(f"{name}: whole", policy.tile, 1, 1)
    overview = int(policy.overview is not Overview.NONE)
    if policy.mode is SplitMode.FILL:
        least, most = policy.along(), policy.along() ** 2
        more = overview if most > 1 else 0
        text = f"fill {least}-{most}" + " and overview" * more
        return Splitting(f"{name}: {text}", policy.tile, least + more, most + more)
    least, most = (4, 4) if policy.mode is SplitMode.STATIC else (policy.n_min, policy.n_max)
    text = "2x2" if policy.mode is SplitMode.STATIC else f"dynamic {least}-{most}"
    # A grid of one tile has no overview beside it: it would be the same picture.
    first = least + overview if least > 1 else 1
    return Splitting(f"{name}: {text}" + " and overview" * overview, policy.tile, first, most + overview)


def text_of(described: Described) -> str:
    """The numbers as aligned text."""
    numbers = described.numbers
    lines = [described.what, "", f"{'parameters':<14} {'total':>10} {'active':>10}"]
    for name, weight in numbers.components.items():
        lines.append(f"  {name:<12} {_count(weight.total):>10} {_count(weight.active):>10}")
    lines.append(f"  {'sum':<12} {_count(numbers.total):>10} {_count(numbers.active):>10}")
    lines.append(f"  of the decoder {_count(numbers.embedding)} in word table and head")
    if moe := described.config["decoder"]["moe"]:
        lines.append(
            f"  {moe['experts']} experts, {moe['top_k']} of them for a token, in every layer number {moe['every']}"
        )
    lines += ["", f"{'a picture':<44} {'tile':>6} {'tiles':>7} {'tokens':>11} {'encoder':>15} {'decoder':>15}"]
    for cost in numbers.pictures:
        cut = cost.splitting
        lines.append(
            f"  {cut.name:<42} {cut.tile:>4}px {_range((cut.least, cut.most), str):>7} {_range(cost.tokens, str):>11} "
            f"{_range(cost.encoder_flops, _short):>15} {_range(cost.decoder_flops, _short):>15}"
        )
    lines += [
        "  forward FLOPs; tokens without the words that tell a tile's place; encoder with connector",
        "",
        "memory without activations",
        f"  training  {_bytes(numbers.training_bytes)}: fp32 weights, gradients, AdamW",
        "  serving   " + ", ".join(f"{_bytes(size)} {dtype}" for dtype, size in numbers.serving_bytes.items()),
        f"  cache     {_bytes(numbers.cache_bytes)} a position, "
        f"{_bytes(CONTEXT * numbers.cache_bytes)} for {CONTEXT} (bf16)",
    ]
    return "\n".join(lines)


def _short(number: float, billion: str = "G") -> str:
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, billion), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}" if number < 1000 * size else f"{number / size:,.0f} {letter}"
    return str(number)


def _count(number: float) -> str:
    return _short(number, "B")


def _bytes(number: float) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number >= 1024**power:
            return f"{number / 1024**power:,.1f} {unit}"
    return f"{number:.0f} B"


def _range(pair: tuple[int, int], text: Any) -> str:
    least, most = (text(number) for number in pair)
    return least if least == most else f"{least} - {most}"
