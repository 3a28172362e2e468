"""A bundle as a folder that others read: transformers and vLLM with our code in it, or a type that they know already.

Exact or refused: what a public type cannot do as the bundle does it is named, with the change that would allow it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from mm15.base.errors import ConfigError
from mm15.bundle import Bundle
from mm15.images.split import SplitMode, SplitPolicy
from mm15.interop import hf_export
from mm15.interop.files import SHARD_BYTES, write_tensors
from mm15.interop.hf_idefics3 import idefics3_files, idefics3_problems, idefics3_state
from mm15.interop.hf_model import (
    FILES,
    PROCESSOR_MAP,
    Towers,
    hf_config,
    hf_state,
    llava_config,
    llava_next_problems,
    llava_problems,
    llava_state,
    towers,
)
from mm15.interop.hf_text import jinja_template, template_parts, tokenizer_files
from mm15.io.atomic import atomic_folder
from mm15.processor import Processor
from mm15.transfer.verifying import Verified, verify

KINDS = ("hf", "llava", "llava_next", "idefics3")
LICENCE = (
    "The code in this folder (*.py) is part of mm15, Apache-2.0. The weights have the licence of what they were "
    "trained from: where an encoder or a language model was imported, its licence holds for this folder too.\n"
)


def export(
    bundle: Bundle, folder: str | Path, to: str = "hf", check: bool = False, shard_bytes: int = SHARD_BYTES
) -> Verified | None:
    """Write a bundle as another folder, all of it or nothing.

    Args:
        to: ``hf``: loaded by ``AutoModelForImageTextToText`` and ``AutoProcessor`` with ``trust_remote_code=True``;
            ``llava``, ``idefics3``: native types, without code. ``llava_next`` is never exact and always refused.
        check: compare what transformers makes of the folder with the bundle; see ``verify``.
        shard_bytes: weights of more bytes are written in several files with an index.

    Returns:
        What was compared, with ``check``.

    Raises:
        ConfigError: an unknown kind, or one that the bundle is not exactly; every reason with its remedy.
        BundleError: with ``check``: the folder answers differently; nothing is left of it.
        MissingExtra: with ``check``: transformers is not installed.
    """
    if to not in KINDS:
        raise ConfigError([f"no folder of kind '{to}'; there are {', '.join(KINDS)}"], "export")
    processor, config = bundle.processor, bundle.model.config
    parts = towers(config, processor.config.max_tokens)
    if problems := _problems(bundle, parts, to):
        raise ConfigError(problems, f"export --to {to}")
    texts = tokenizer_files(processor.tokenizer, processor.config.template, processor.config.max_tokens)
    texts |= {"chat_template.jinja": jinja_template(processor.config.template), "LICENSE-NOTE.txt": LICENCE}
    values = _files(bundle, parts, to)
    values["config.json"] |= _ends(processor) | {"dtype": _dtype(bundle)}
    values["generation_config.json"] = {
        **_ends(processor),
        "do_sample": False,
        "suppress_tokens": [config.image_token],  # a picture is something the model is shown; it cannot say one
    }
    with atomic_folder(folder) as draft:
        for name, value in values.items():
            texts[name] = json.dumps(value, indent=1, ensure_ascii=False)
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8")
        if to == "hf":
            for name in FILES:
                shutil.copyfile(Path(str(hf_export.__file__)).parent / f"{name}.py", draft / f"{name}.py")
        write_tensors(draft, _tensors(bundle, parts, to), shard_bytes)
        return verify(bundle, draft, to) if check else None


def answering_policy(processor: Processor) -> SplitPolicy:
    """How pictures are split when the bundle answers."""
    return processor.config.answer_split or processor.config.split


def _problems(bundle: Bundle, parts: Towers, to: str) -> list[str]:
    """Why a bundle is not exactly of a kind."""
    processor, config = bundle.processor, bundle.model.config
    policy = answering_policy(processor)
    if to == "idefics3":
        return idefics3_problems(
            config, parts, policy, processor.config.template, processor.tokenizer, processor.config.max_tokens
        )
    whole = policy.max_split_images == 0 and policy.mode is not SplitMode.FILL
    mode = SplitMode.NONE if whole else policy.mode
    if to == "llava":
        return llava_problems(config, parts, mode.value, policy.indicator.value)
    return llava_next_problems(config, parts, mode.value) if to == "llava_next" else []


def _tensors(bundle: Bundle, parts: Towers, to: str) -> Iterator[tuple[str, Tensor]]:
    write = {"hf": hf_state, "llava": llava_state, "idefics3": idefics3_state}[to]
    return write(bundle.model.config, parts, bundle.model.state_dict())


def _files(bundle: Bundle, parts: Towers, to: str) -> dict[str, dict[str, Any]]:
    if to == "idefics3":
        return idefics3_files(bundle.model.config, parts, answering_policy(bundle.processor))
    return _hf_files(bundle, parts) if to == "hf" else _llava_files(bundle, parts)


def _hf_files(bundle: Bundle, parts: Towers) -> dict[str, dict[str, Any]]:
    processor, vision = bundle.processor, bundle.model.config.vision
    image_processor = {
        "image_processor_type": "MM15ImageProcessor",
        "processor_class": "MM15Processor",
        "auto_map": PROCESSOR_MAP,
        "split": answering_policy(processor).model_dump(mode="json"),
        "image_mean": vision.mean,
        "image_std": vision.std,
    }
    config = {
        "processor_class": "MM15Processor",
        "auto_map": PROCESSOR_MAP,
        "image_token": processor.config.template.image,
        "tokens_per_tile": processor.tokens_per_tile,
        "template_parts": template_parts(processor.config.template, processor.tokenizer),
    }
    return {
        "config.json": hf_config(bundle.model.config, parts),
        "processor_config.json": config | {"image_processor": image_processor},
        "preprocessor_config.json": image_processor,
    }


def _llava_files(bundle: Bundle, parts: Towers) -> dict[str, dict[str, Any]]:
    vision = bundle.model.config.vision
    side = {"height": vision.image_size, "width": vision.image_size}
    image_processor = {
        "image_processor_type": "LlavaImageProcessor",
        "processor_class": "LlavaProcessor",
        "do_pad": True,
        "do_resize": True,
        "do_center_crop": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "size": side,
        "crop_size": side,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": vision.mean,
        "image_std": vision.std,
    }
    config = {
        "processor_class": "LlavaProcessor",
        "image_token": bundle.processor.config.template.image,
        "patch_size": vision.patch_size,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    return {
        "config.json": llava_config(bundle.model.config, parts),
        "processor_config.json": config | {"image_processor": image_processor},
        "preprocessor_config.json": image_processor,
    }


def _ends(processor: Processor) -> dict[str, Any]:
    template = processor.config.template
    end = processor.tokenizer.special(template.assistant.end)
    others = sorted(processor.stop_tokens - {end})
    begin = processor.tokenizer.special(template.bos) if template.bos else None
    return {"bos_token_id": begin, "eos_token_id": [end, *others] if others else end, "pad_token_id": end}


def _dtype(bundle: Bundle) -> str:
    return str(bundle.model.decoder.embedding.weight.dtype).removeprefix("torch.")
