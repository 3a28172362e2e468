"""Folders as other projects save them: random weights, in shards, with shuffled and prefixed names."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
)
from transformers.utils import logging

from mm15.text.tokenizer import train_tokenizer
from parity.hf_maps import randomise

logging.set_verbosity_error()
logging.disable_progress_bar()

QWEN_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}"
    "{% else %}{{- '<|im_start|>system\nYou are Qwen.<|im_end|>\n' }}{% endif %}"
    "{%- for message in messages %}{%- if message.role == 'user' or (message.role == 'system' and not loop.first) "
    "or message.role == 'assistant' %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
"""The shape of Qwen2.5's template without its tools."""


def save_hf(model: nn.Module, folder: Path, seed: int = 0, prefix: str = "") -> Path:
    """A model with every one-dimensional parameter random, saved by transformers, then dealt anew into shards."""
    randomise(model, seed)
    model.save_pretrained(folder)  # type: ignore[operator]
    reshard(folder, seed, prefix)
    return folder


def reshard(folder: Path, seed: int = 0, prefix: str = "", shards: int = 3) -> None:
    """Deal the tensors of ``model.safetensors`` at random into shards with an index."""
    whole = folder / "model.safetensors"
    tensors = {prefix + name: tensor for name, tensor in load_file(whole).items()}
    whole.unlink()
    names = sorted(tensors)
    random.Random(seed).shuffle(names)
    files = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    for number, file in enumerate(files):
        save_file({name: tensors[name] for name in names[number::shards]}, folder / file, {"format": "pt"})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {
        "metadata": {"total_size": size},
        "weight_map": {name: files[number % shards] for number, name in enumerate(names)},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def change_shard(folder: Path, name: str, tensor: Tensor | None) -> None:
    """Replace one tensor of a sharded folder, or take it out of its shard and of the index (None)."""
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    file = folder / index["weight_map"].get(name, next(iter(index["weight_map"].values())))
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    if tensor is None:
        tensors.pop(name)
        index["weight_map"].pop(name)
    else:
        tensors[name] = tensor
        index["weight_map"][name] = file.name
    save_file(tensors, file, {"format": "pt"})
    path.write_text(json.dumps(index), encoding="utf-8")


def change_config(folder: Path, **values: Any) -> None:
    """Change values of config.json; None takes one out."""
    path = folder / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}), encoding="utf-8")


def small_clip(folder: Path) -> Path:
    """A whole ``CLIPModel``, text tower included: 16 px tiles, 4 px patches."""
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = CLIPConfig(
        vision_config=vision | {"image_size": 16, "patch_size": 4},
        text_config=text | {"vocab_size": 20},
        projection_dim=8,
    )
    torch.manual_seed(0)
    return save_hf(CLIPModel(config), folder)


def small_siglip(folder: Path) -> Path:
    """A whole ``SiglipModel``: 16 px tiles, 4 px patches."""
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    torch.manual_seed(0)
    config = SiglipConfig(
        vision_config=vision | {"image_size": 16, "patch_size": 4}, text_config=text | {"vocab_size": 20}
    )
    return save_hf(SiglipModel(config), folder)


def small_llama(folder: Path) -> Path:
    """A ``LlamaForCausalLM`` with an untied head, Llama 3's kind of positions and reserved tokens, without template."""
    rope = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    config = LlamaConfig(
        vocab_size=640,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=80,
        max_position_embeddings=1024,
        rope_parameters=rope | {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    )
    torch.manual_seed(1)
    save_hf(LlamaForCausalLM(config), folder, seed=1)
    spare = tuple(f"<|reserved_special_token_{number}|>" for number in range(4))
    add_tokenizer(folder, ("<|end_of_text|>", *spare), None, eos_token="<|end_of_text|>")
    return folder


def small_qwen2(folder: Path, template: str | None = QWEN_TEMPLATE, rows: int = 640) -> Path:
    """A ``Qwen2ForCausalLM`` with more embedding rows than its tokenizer has ids, and its chat template."""
    config = Qwen2Config(
        vocab_size=rows,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=80,
        tie_word_embeddings=True,
    )
    torch.manual_seed(1)
    save_hf(Qwen2ForCausalLM(config), folder, seed=1)
    add_tokenizer(folder, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), template, eos_token="<|im_end|>")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    return folder


def add_tokenizer(folder: Path, specials: tuple[str, ...], template: str | None, **settings: Any) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``."""
    folder.mkdir(exist_ok=True)
    train_tokenizer([string.printable], specials).save(folder / "tokenizer.json")
    stated = settings | ({"chat_template": template} if template else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
