"""A folder of saved weights as one part of our model: which family it is of, its config, and its tensors by our names.

>>> saved = open_llm("Qwen2.5-1.5B")
>>> state = dict(saved.state(torch.float32))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from mm15.base import catalogue
from mm15.base.errors import BundleError, ConfigError
from mm15.interop.files import SavedTensors, read_json, refusal
from mm15.interop.llm._common import IGNORED
from mm15.interop.names import WRAPPERS, Entry, compare, gather, within
from mm15.model.sizes import DecoderConfig, VisionConfig

LLM, VISION = "mm15.interop.llm", "mm15.interop.vision"
ConfigT = TypeVar("ConfigT", DecoderConfig, VisionConfig)


@dataclass(frozen=True, slots=True)
class Saved(Generic[ConfigT]):
    """An opened checkpoint that fits its map exactly. ``left_out`` are tensors of it that our model has no part for."""

    folder: Path
    family: str
    config: ConfigT
    entries: list[Entry]
    tensors: SavedTensors
    names: Mapping[str, str]
    left_out: tuple[str, ...]

    def state(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """Our tensors, one at a time, copied out of the files; ``dtype`` None keeps that of the file."""
        return gather(self.entries, lambda name: self.tensors.read(self.names[name]), dtype)


def llm_families() -> dict[str, ModuleType]:
    """``model_type`` of config.json → module."""
    modules = [catalogue.lookup(LLM, name, "family") for name in catalogue.names(LLM)]
    return {module.MODEL_TYPE: module for module in modules}


def vision_families() -> dict[str, ModuleType]:
    """Family → module."""
    return {name: catalogue.lookup(VISION, name, "family") for name in catalogue.names(VISION)}


def llm_config(folder: str | Path) -> tuple[str, DecoderConfig]:
    """The family and config of a language model's folder.

    Raises:
        BundleError: no readable config.json, an unknown architecture, or values that are not supported.
    """
    folder = Path(folder)
    raw = read_json(folder / "config.json")
    families = llm_families()
    kind = raw.get("model_type")
    if kind not in families:
        told = f"model_type: {kind!r} is not supported; supported: {', '.join(sorted(families))}"
        raise BundleError(refusal(folder, [f"config.json: {told}"]))
    return kind, _config(folder, lambda: families[kind].read_config(raw))


def vision_config(folder: str | Path) -> tuple[str, VisionConfig]:
    """The family and config of an image encoder's folder.

    Raises:
        BundleError: no readable config, an unknown architecture, or values that are not supported.
    """
    folder = Path(folder)
    files = ("open_clip_config.json", "config.json")
    configs = {name: read_json(folder / name) for name in files if (folder / name).is_file()}
    if not configs:
        raise BundleError(refusal(folder, [f"neither {' nor '.join(files)}" if folder.is_dir() else "no such folder"]))
    preprocessor = folder / "preprocessor_config.json"
    pixels = read_json(preprocessor) if preprocessor.is_file() else {}
    families = vision_families()
    for raw in configs.values():
        # A folder of the hub may hold both spellings; the weights decide.
        found = [name for name, module in families.items() if module.claims(raw)]
        if found and (len(configs) == 1 or _spelt_like(folder, families[found[0]])):
            return found[0], _config(folder, lambda raw=raw, name=found[0]: families[name].read_config(raw, pixels))
    told = "; ".join(
        f"{name}: model_type {raw.get('model_type')!r}, architecture {raw.get('architecture')!r}"
        for name, raw in configs.items()
    )
    raise BundleError(refusal(folder, [f"no supported image encoder ({told}); supported: {', '.join(families)}"]))


def open_llm(folder: str | Path) -> Saved[DecoderConfig]:
    """Open a language model's folder.

    Raises:
        BundleError: the folder is not what it claims, an architecture, activation or position type is not supported,
            or tensors are missing, misshapen or unknown; everything that can be told at once is.
    """
    folder = Path(folder)
    family, config = llm_config(folder)
    entries = llm_families()[family].entries(config)
    tensors = SavedTensors(folder)
    names, _ = _names(tensors, (), (*WRAPPERS, "model."))
    ignored = (*IGNORED, *((r"^lm_head\.weight$",) if config.tied_head else ()))
    problems = compare(entries, {name: tensors.shapes[file] for name, file in names.items()}, ignored)
    if not problems and config.tied_head and "lm_head.weight" in names:
        # Some files hold a tied head twice. A head that differs would be lost.
        head, words = (tensors.read(names[name]) for name in ("lm_head.weight", "embed_tokens.weight"))
        if not torch.equal(head, words):
            problems.append("lm_head.weight: differs from embed_tokens.weight, though tie_word_embeddings is true")
    return _saved(folder, family, config, entries, tensors, names, problems)


def open_vision(folder: str | Path) -> Saved[VisionConfig]:
    """Open an image encoder's folder; its text tower and its heads are left out.

    Raises:
        BundleError: as ``open_llm``.
    """
    folder = Path(folder)
    family, config = vision_config(folder)
    module = vision_families()[family]
    entries = module.entries(config)
    tensors = SavedTensors(folder)
    names, outside = _names(tensors, module.SCOPES)
    shapes = {name: tensors.shapes[file] for name, file in names.items()}
    problems = compare(entries, shapes, module.IGNORED)
    problems += compare([], {name: () for name in outside}, module.IGNORED)
    return _saved(folder, family, config, entries, tensors, names, problems)


def _saved(
    folder: Path,
    family: str,
    config: Any,
    entries: list[Entry],
    tensors: SavedTensors,
    names: Mapping[str, str],
    problems: list[str],
) -> Saved[Any]:
    if problems:
        raise BundleError(refusal(folder, [*problems, f"(read as {family}: {config!r})"]))
    used = {names[piece.name] for item in entries for piece in item.pieces}
    return Saved(folder, family, config, entries, tensors, names, tuple(sorted(set(tensors.shapes) - used)))


def _names(tensors: SavedTensors, scopes: tuple[str, ...], wrappers: tuple[str, ...] = WRAPPERS) -> Any:
    try:
        return within(tensors.shapes, scopes, wrappers)
    except ValueError as error:
        raise BundleError(refusal(tensors.place, [str(error)])) from error


def _config(folder: Path, read: Any) -> Any:
    try:
        return read()
    except ConfigError as error:
        raise BundleError(refusal(folder, [f"{error.where}: {problem}" for problem in error.problems])) from error
    except ValueError as error:  # a combination that our own config refuses
        raise BundleError(refusal(folder, [f"config.json: {error}"])) from error


def _spelt_like(folder: Path, module: ModuleType) -> bool:
    names, _ = _names(SavedTensors(folder), module.SCOPES)
    return module.NAMES.positions in names
