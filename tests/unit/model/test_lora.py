"""Adapters: nothing changes at the start, only they are trained, and merged they are the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mm15.base.errors import ConfigError
from mm15.bundle import load_bundle
from mm15.model.lora import adapters, attach, merge, peft_tensors
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, ModelConfig
from mm15.stage import resume_stage, start_stage
from mm15.train.optim import build_optimizer, decoder_size
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from stage_fixture import Terminate, small_recipe
from training_fixture import debug_model, random_pack


def test_it_starts_as_the_model_and_merged_it_is_the_trained_one():
    plain, model = debug_model(), debug_model()
    chosen = attach(model, ["decoder.blocks.*.attention.*", "connector"], rank=4, alpha=8, seed=3)
    assert {name.split(".")[0] for name in chosen} == {"decoder", "connector"}
    assert "decoder.blocks.0.attention.qkv" in chosen and "decoder.blocks.0.mlp.down" not in chosen
    batch = random_pack(0)
    assert torch.equal(model(batch).logits_LV, plain(batch).logits_LV)
    assert decoder_size(model) == decoder_size(plain)

    optimizer = build_optimizer(model, OptimizerConfig(kind="muon", lr=2e-2, lr_scale={"vision.final_norm": 1}))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(3):
        train_step(model, optimizer, [random_pack(step)], clip=1.0)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    whole = {name for name in moved if ".lora." not in name}
    assert whole == {name for name in before if name.startswith("vision.final_norm")} and whole
    assert {name for name in before if ".lora." in name} <= moved

    trained = model(batch).logits_LV
    assert (trained - plain(batch).logits_LV).abs().max() > 1e-3
    merge(model)
    assert model.state_dict().keys() == plain.state_dict().keys() and not list(adapters(model))
    torch.testing.assert_close(model(batch).logits_LV, trained, rtol=1e-5, atol=1e-5)


def test_targets_that_name_nothing_or_experts_are_refused():
    with pytest.raises(ConfigError, match=r"'decodr' names no linear layer; parts: connector, decoder, vision"):
        attach(debug_model(), ["decodr"], 4, 8, 0)
    raw = SIZES["debug"].model_dump()
    raw["decoder"]["moe"] = {"experts": 4, "every": 2}
    moe = MultimodalModel(ModelConfig(**raw))
    moe.init_weights(0)
    with pytest.raises(ConfigError, match=r"takes in experts.*mlp\.gate_up.*name the layers beside them"):
        attach(moe, ["decoder"], 4, 8, 0)
    assert attach(moe, ["decoder.blocks.*.attention.*"], 4, 8, 0)


def test_a_stage_trains_adapters_goes_on_after_a_stop_and_leaves_a_merged_bundle(small_data: Path, tmp_path: Path):
    start_stage(small_recipe("sft", train={"steps": 1}), tmp_path / "base", small_data)
    train = {"steps": 6, "save_every": 2, "lora": {"rank": 4, "alpha": 8}}
    recipe, init = small_recipe("sft", train=train), tmp_path / "base" / "bundle"
    start_stage(recipe, tmp_path / "straight", small_data, init)
    assert not start_stage(recipe, tmp_path / "run", small_data, init, hooks=[Terminate(3)]).finished
    assert resume_stage(tmp_path / "run").finished
    base, straight, run = (load_bundle(path / "bundle").model.state_dict() for path in (
        tmp_path / "base", tmp_path / "straight", tmp_path / "run"))  # fmt: skip
    assert all(torch.equal(straight[name], run[name]) for name in straight)

    tensors = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    about = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (about["peft_type"], about["r"], about["lora_alpha"]) == ("LORA", 4, 8)
    assert len(tensors) == 2 * len(about["target_modules"])
    changed = {name for name in base if not torch.equal(base[name], run[name])}
    assert changed == {f"{name}.weight" for name in about["target_modules"]}
    for name in about["target_modules"]:
        down, up = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
        torch.testing.assert_close(base[f"{name}.weight"] + 2 * up @ down, run[f"{name}.weight"])


def test_names_are_those_of_peft():
    model = debug_model()
    attach(model, ["decoder.blocks.0.mlp.down"], 2, 4, 0)
    shapes = {name: tuple(tensor.shape) for name, tensor in peft_tensors(model).items()}
    rows, columns = model.decoder.blocks[0].mlp.down.weight.shape
    front = "base_model.model.decoder.blocks.0.mlp.down"
    assert shapes == {f"{front}.lora_A.weight": (2, columns), f"{front}.lora_B.weight": (rows, 2)}
