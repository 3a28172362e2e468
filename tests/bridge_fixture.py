"""Harnesses in miniature: the classes that lmms-eval and VLMEvalKit give their models, as small as their contracts."""

from __future__ import annotations

import string
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mm15.bundle import save_bundle
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


def debug_bundle(folder: Path, seed: int = 0) -> Path:
    """A bundle of random weights that writes printable characters, others about every question."""
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    processor = Processor(config, train_tokenizer([string.printable], SPECIALS))
    config = with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token)
    untied = config.decoder.model_copy(update={"tied_head": False})  # a tied one at random repeats the last token
    model = MultimodalModel(config.model_copy(update={"decoder": untied}))
    model.init_weights(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)  # weights of the usual size say the same whatever they are asked
        head = model.decoder.untied_head
        assert head is not None
        head.weight[:256] = 0  # the bytes, which make no text at random
    save_bundle(folder, model, processor)
    return folder


@dataclass
class Warnings:
    """Stands for loguru's logger."""

    lines: list[str] = field(default_factory=list)

    def warning(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class Request:
    """lmms-eval's ``Instance``, as far as models see it."""

    args: tuple[Any, ...]


def put_module(patch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    """A module and the packages around it; they hide a package of that name which is installed."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if end == len(parts) or not getattr(sys.modules.get(path), "of_the_tests", False):
            module = ModuleType(path)
            module.__dict__.update(of_the_tests=True, __path__=[])
            patch.setitem(sys.modules, path, module)
    sys.modules[name].__dict__.update(attributes)


@dataclass
class FakeResult:
    """``lmms_eval.api.instance.GenerationResult``."""

    text: Any
    token_counts: Any = None


class FakeLmms:
    """``lmms_eval.api.model.lmms`` 0.7.3 without its torch and caches."""

    is_simple = True

    def __init__(self) -> None:
        self._rank, self._world_size, self.task_dict = 0, 1, {}


@dataclass(frozen=True)
class FakeManifest:
    """``lmms_eval.models.registry_v2.ModelManifest``."""

    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


class FakeBaseModel:
    """``vlmeval.vlm.base.BaseModel``: what ``generate`` does before ``generate_inner``."""

    INTERLEAVE = False

    def __init__(self) -> None:
        self.dump_image_func = None

    def use_custom_prompt(self, dataset: str) -> bool:
        return False

    def set_dump_image(self, function: Any) -> None:
        self.dump_image_func = function

    def generate(self, message: list[dict[str, Any]], dataset: str | None = None) -> str:
        assert all(set(item) >= {"type", "value"} for item in message)
        return self.generate_inner(message, dataset)  # type: ignore[attr-defined]
