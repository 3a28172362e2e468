"""What a config.json asks for is supported or refused by name; pickles are refused, and converted apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from foreign_fixture import change_config
from mm15.base.errors import BundleError
from mm15.interop.checkpoint import llm_config, open_llm, vision_config
from mm15.interop.files import SavedTensors
from mm15.interop.licences import licence_note
from mm15.interop.unpickle import convert_weights

LLAMA = {
    "model_type": "llama",
    "vocab_size": 71,
    "hidden_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
}
CLIP = {"model_type": "clip_vision_model", "hidden_act": "gelu"}


def write(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "change, told",
    [
        (
            {"model_type": "gemma3"},
            "model_type: 'gemma3' is not supported; supported: llama, mistral, olmo2, olmoe, qwen2",
        ),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported; supported: silu"),
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "rope_type: 'dynamic' is not supported; supported: default",
        ),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope_type: 'longrope' is not supported"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rope: low_freq_factor: missing"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantised weights are not read"),
        ({"num_key_value_heads": 3}, "4 is not a multiple of num_key_value_heads 3"),
        ({"hidden_size": None, "vocab_size": "many"}, "hidden_size: missing"),
        ({"model_type": "olmo2", "clip_qkv": 8.0}, "clip_qkv: 8.0 is not supported"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "only 2 of 3",
        ),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [0]}, "mlp_only_layers"),
    ],
)
def test_language_models_that_are_refused(change, told, tmp_path):
    write(tmp_path, **LLAMA)
    change_config(tmp_path, **change)
    with pytest.raises(BundleError) as error:
        llm_config(tmp_path)
    assert told in str(error.value)


def test_all_problems_of_a_config_are_told_at_once(tmp_path):
    write(tmp_path, **{**LLAMA, "hidden_act": "relu", "vocab_size": -1, "rope_parameters": {"rope_type": "dynamic"}})
    with pytest.raises(BundleError) as error:
        llm_config(tmp_path)
    assert "3 problems" in str(error.value)


@pytest.mark.parametrize(
    "config, told",
    [
        ({**CLIP, "hidden_act": "gelu_new"}, "hidden_act: 'gelu_new' is not supported; supported: quick_gelu, gelu"),
        ({"model_type": "siglip2"}, "NaFlex"),
        ({"model_type": "dinov2"}, "no supported image encoder (config.json: model_type 'dinov2'"),
        ({"architecture": "vit_tiny_patch16_clip_224"}, "'vit_tiny_patch16_clip_224' is not supported"),
        (
            {"architecture": "vit_large_patch14_clip_336", "pretrained_cfg": {"tag": "openai"}},
            "trained with quick-GELU; use the release under vit_large_patch14_clip_quickgelu_336",
        ),
    ],
)
def test_encoders_that_are_refused(config, told, tmp_path):
    with pytest.raises(BundleError) as error:
        vision_config(write(tmp_path, **config))
    assert told in str(error.value)


def test_pickles_are_refused_with_the_command_that_converts_them(tmp_path):
    tensors = {"model.norm.weight": torch.arange(3.0), "lm_head.weight": torch.eye(2)}
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    write(tmp_path, **LLAMA)
    with pytest.raises(BundleError) as error:
        open_llm(tmp_path)
    assert f"mm15 convert-weights {tmp_path / 'pytorch_model.bin'}" in str(error.value)
    assert convert_weights(tmp_path) == [tmp_path / "model.safetensors"]
    saved = SavedTensors(tmp_path)
    assert saved.shapes == {"model.norm.weight": (3,), "lm_head.weight": (2, 2)}
    assert torch.equal(saved.read("lm_head.weight"), torch.eye(2))


class Evil:
    def __reduce__(self):
        return print, ("ran",)


def test_a_pickle_that_would_run_code_is_not_converted(tmp_path):
    torch.save({"weight": Evil()}, tmp_path / "model.bin")
    with pytest.raises(BundleError) as error:
        convert_weights(tmp_path)
    assert "model.bin: not converted" in str(error.value)
    assert not list(tmp_path.glob("*.safetensors"))


def test_licence_notes(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    assert "states no licence" in licence_note(folder)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: apple-amlr\n---\ntext", encoding="utf-8")
    (folder / "LICENSE").write_text("terms", encoding="utf-8")
    assert licence_note(folder) == "model: the card says other, apple-amlr; see LICENSE"
