"""Every family: made by its public implementation → saved in shards → read → equal logits or features; and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionModel,
)

from foreign_fixture import change_shard, save_hf, small_clip
from mm15.base.errors import BundleError
from mm15.interop.checkpoint import llm_families, open_llm, open_vision, vision_families
from mm15.interop.files import write_tensors
from mm15.interop.names import prefixed, scatter
from mm15.model.cache import KVCache
from mm15.model.cached import Step
from mm15.model.decoder import Decoder, Stream
from mm15.model.sizes import dfn_vit_h14, siglip_so400m14
from mm15.model.vit import VisionTransformer

ASSETS = Path(__file__).parents[1] / "assets"
SMALL = {
    "vocab_size": 71,
    "hidden_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 56,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 16}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"head_dim": 16, "tie_word_embeddings": True}),
    "llama-3": ("Llama", {"head_dim": 16, "rope_parameters": LLAMA3}),
    "llama-biases": ("Llama", {"head_dim": 16, "attention_bias": True, "mlp_bias": True}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}}),
    "mistral": ("Mistral", {"head_dim": 16, "sliding_window": None}),
    "mistral-window": ("Mistral", {"head_dim": 16, "sliding_window": 9}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-yarn": ("Qwen2", {"rope_parameters": YARN}),
    "qwen2-window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-yarn": ("Qwen3", {"head_dim": 16, "rope_parameters": {**YARN, "attention_factor": 1.3, "truncate": False}}),
    "olmo2": ("Olmo2", {}),
    "qwen3-moe": ("Qwen3Moe", {"head_dim": 16, **EXPERTS, "norm_topk_prob": True, "decoder_sparse_step": 2}),
    "olmoe": ("Olmoe", EXPERTS),
}


def build(family: str) -> nn.Module:
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SMALL, **more)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def full(ours: Decoder, ids_T: Tensor) -> Tensor:
    """Logits of every position from one packed pass."""
    stream = Stream(ours.config, torch.arange(len(ids_T)), (0, len(ids_T)), torch.float32)
    return ours.head(ours(ours.embed(ids_T, torch.float32), stream))


def cached(ours: Decoder, ids_T: Tensor, start: int) -> Tensor:
    """Logits of the positions from ``start`` on: a prefill, a second part of the prompt, then one at a time."""
    config, cpu = ours.config, torch.device("cpu")
    pages = len(ids_T) // 4 + 1
    cache = KVCache(pages, config.layers, config.kv_heads, config.head_dim, torch.float32, cpu, page=4)
    cache.open(len(ids_T))
    rows = []
    for part in (ids_T[:start], ids_T[start : start + 2], *ids_T[start + 2 :].split(1)):
        if not len(part):
            continue
        step = Step(config, cache, [len(part)], torch.float32, cpu)
        rows.append(ours.head(ours(ours.embed(part, torch.float32), step)))
    return torch.cat(rows)[start:]


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_language_model_comes_in_and_goes_out_again(family, tmp_path):
    theirs = build(family)
    folder = save_hf(theirs, tmp_path / "in", prefix="module." if family == "qwen3" else "")
    saved = open_llm(folder)
    ours = Decoder(saved.config)
    ours.load_state_dict(dict(saved.state(torch.float32)))
    for length in (5, 50):
        ids_T = torch.randint(0, 71, (length,), generator=torch.Generator().manual_seed(length))
        expected = theirs(input_ids=ids_T[None]).logits[0]  # type: ignore[operator]
        torch.testing.assert_close(full(ours, ids_T), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(cached(ours, ids_T, 3), expected[3:], atol=1e-4, rtol=0)

    module = llm_families()[saved.family]
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text(json.dumps(module.write_config(saved.config, 128)), encoding="utf-8")
    entries = prefixed(saved.entries, theirs=lambda name: name if name.startswith("lm_head") else f"model.{name}")
    write_tensors(out, scatter(entries, ours.state_dict()), shard_bytes=30_000)
    again, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True, dtype=torch.float32)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    ids_T = torch.randint(0, 71, (50,), generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(again(input_ids=ids_T[None]).logits[0], full(ours, ids_T), atol=1e-4, rtol=0)


def test_rope_of_older_files_is_read(tmp_path):
    folder = save_hf(build("llama-3"), tmp_path)
    new = open_llm(folder).config
    raw = json.loads((folder / "config.json").read_text())
    rope = raw.pop("rope_parameters")
    raw["rope_theta"] = rope.pop("rope_theta")
    raw["rope_scaling"] = rope
    (folder / "config.json").write_text(json.dumps(raw))
    assert open_llm(folder).config == new
    assert new.rope_scaling is not None and new.rope_scaling.kind == "llama3"


def compare_vision(ours: VisionTransformer, expected: Tensor, pixels: Tensor) -> None:
    found = ours(pixels)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 56, "patch_size": 4}
PIXELS = torch.rand(2, 3, 26, 26, generator=torch.Generator().manual_seed(1)) * 2 - 1


def load_vision(folder: Path) -> VisionTransformer:
    saved = open_vision(folder)
    ours = VisionTransformer(saved.config)
    ours.load_state_dict(dict(saved.state(torch.float32)))
    return ours


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_clip_vision_model(activation, tmp_path):
    theirs = CLIPVisionModel(CLIPVisionConfig(hidden_act=activation, image_size=24, **SIZES)).eval()
    ours = load_vision(save_hf(theirs, tmp_path / "in"))
    pixels = PIXELS[..., :24, :24]
    compare_vision(ours, theirs(pixel_values=pixels).last_hidden_state[:, 1:], pixels)
    module = vision_families()["clip"]
    assert module.write_config(ours.config).items() >= {"hidden_act": activation, "image_size": 24}.items()
    written = dict(scatter(module.entries(ours.config), ours.state_dict()))
    state = {name.removeprefix("vision_model."): value for name, value in theirs.state_dict().items()}
    assert written.keys() == {name for name in state if "post_layernorm" not in name and "position_ids" not in name}
    assert all(torch.equal(value, state[name]) for name, value in written.items())


@torch.no_grad()
def test_a_whole_clip_model_gives_its_vision_tower(tmp_path):
    ours = load_vision(small_clip(tmp_path))
    theirs = transformers.CLIPModel.from_pretrained(tmp_path).vision_model.eval()
    pixels = PIXELS[..., :16, :16]
    compare_vision(ours, theirs(pixel_values=pixels).last_hidden_state[:, 1:], pixels)


@torch.no_grad()
def test_siglip_reads_whole_patches_of_its_picture(tmp_path):
    vision = SIZES | {"image_size": 26}  # as 384 px at patches of 14: the convolution leaves the rest unread
    config = SiglipConfig(
        vision_config=vision, text_config={"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    )
    theirs = SiglipModel(config).eval()
    ours = load_vision(save_hf(theirs, tmp_path / "in"))
    assert (ours.config.image_size, ours.config.activation) == (24, "gelu_tanh")
    expected = theirs.vision_model(pixel_values=PIXELS).last_hidden_state
    compare_vision(ours, expected, PIXELS[..., :24, :24])

    module = vision_families()["siglip"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text(json.dumps(module.write_config(ours.config)), encoding="utf-8")
    write_tensors(out, scatter(module.entries(ours.config), ours.state_dict()))
    again, report = SiglipVisionModel.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    compare_vision(ours, again.eval()(pixel_values=PIXELS[..., :24, :24]).last_hidden_state, PIXELS[..., :24, :24])


def recorded(name: str, folder: Path, file: str) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Weights and features that the public package made, laid out as its folders are."""
    with safe_open(str(ASSETS / f"{name}.safetensors"), "pt") as kept:
        config = json.loads(kept.metadata()["config"])
        tensors = {key: kept.get_tensor(key) for key in kept.keys()}  # noqa: SIM118
    weights = {key.removeprefix("weight."): value for key, value in tensors.items() if key.startswith("weight.")}
    folder.mkdir()
    save_file(weights, folder / ("model.safetensors" if file == "config.json" else "open_clip_model.safetensors"))
    (folder / file).write_text(json.dumps(config), encoding="utf-8")
    return tensors["input"], tensors["output"], config


@torch.no_grad()
@pytest.mark.parametrize(
    "name, file, activation",
    [
        ("open_clip_quickgelu", "open_clip_config.json", "quick_gelu"),
        ("timm_clip_quickgelu", "config.json", "quick_gelu"),
        ("timm_siglip", "config.json", "gelu"),
    ],
)
def test_encoders_with_other_names_equal_what_their_packages_computed(name, file, activation, tmp_path):
    pixels, expected, _ = recorded(name, tmp_path / "in", file)
    ours = load_vision(tmp_path / "in")
    assert ours.config.activation == activation
    compare_vision(ours, expected, pixels)


def test_dfn_and_siglip_configs_of_the_hub_mean_the_papers_encoders(tmp_path):
    families = vision_families()
    vision = {"image_size": 378, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14}
    dfn = {"model_cfg": {"embed_dim": 1024, "quick_gelu": True, "vision_cfg": vision, "text_cfg": {}}}
    assert families["open-clip"].read_config(dfn, {}) == dfn_vit_h14()
    timm = {
        "architecture": "vit_huge_patch14_clip_quickgelu_378",
        "pretrained_cfg": {"input_size": [3, 378, 378], "tag": "dfn5b"},
    }
    assert families["timm"].read_config(timm, {}) == dfn_vit_h14()
    siglip = {"hidden_size": 1152, "image_size": 384, "intermediate_size": 4304, "num_attention_heads": 16}
    siglip |= {"num_hidden_layers": 27, "patch_size": 14, "model_type": "siglip_vision_model"}
    assert families["siglip"].read_config({"model_type": "siglip", "vision_config": siglip}, {}) == siglip_so400m14()


@pytest.mark.parametrize("what", ["missing", "shape", "extra", "cut", "gone", "head"])
def test_a_folder_that_does_not_fit_says_what_is_wrong(what, tmp_path):
    folder = save_hf(build("qwen2" if what == "head" else "mistral"), tmp_path)
    name = "model.layers.1.self_attn.k_proj.weight"
    shards = sorted(folder.glob("*.safetensors"))
    if what == "missing":
        change_shard(folder, name, None)
        change_shard(folder, "model.norm.weight", None)
        told = ["2 problems", "tensor layers.1.self_attn.k_proj.weight: missing", "tensor norm.weight: missing"]
    elif what == "shape":
        change_shard(folder, name, torch.zeros(32, 41))
        told = ["tensor layers.1.self_attn.k_proj.weight: shape [32, 41], expected [32, 40]"]
    elif what == "extra":
        change_shard(folder, "model.layers.0.self_attn.q_proj.bias", torch.zeros(64))
        told = ["tensor layers.0.self_attn.q_proj.bias: no part of this family"]
    elif what == "cut":
        shards[0].write_bytes(shards[0].read_bytes()[:-100])
        told = [f"{shards[0].name}: not a whole safetensors file"]
    elif what == "gone":
        shards[1].unlink()
        told = [f"{shards[1].name}: missing"]
    else:
        change_shard(folder, "lm_head.weight", torch.zeros(71, 40))
        told = ["lm_head.weight: differs from embed_tokens.weight"]
    with pytest.raises(BundleError) as error:
        open_llm(folder)
    assert all(sentence in str(error.value) for sentence in told), str(error.value)
