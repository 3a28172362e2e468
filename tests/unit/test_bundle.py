import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from mm15.base.batch import pack
from mm15.base.errors import BundleError
from mm15.bundle import load_bundle, save_bundle
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.quantise import prepare
from mm15.model.sizes import SIZES, MoEConfig, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import TemplateConfig
from mm15.text.tokenizer import train_tokenizer
from training_fixture import random_sample

SPECIALS = ("<|bos|>", "<|image|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
RECIPE = {"stage": "sft", "train": {"steps": 10}}


def parts(tile=16, tokens_per_tile=4):
    tokenizer = train_tokenizer(["what is it?"], SPECIALS)
    split = SplitPolicy(tile=tile)
    processor = Processor(
        ProcessorConfig(split=split, tokens_per_tile=tokens_per_tile, template=TemplateConfig()), tokenizer
    )
    model = MultimodalModel(with_vocab(SIZES["debug"], tokenizer.vocab_size, processor.image_token))
    model.init_weights(3)
    return model, processor


@pytest.fixture
def folder(tmp_path):
    save_bundle(tmp_path / "bundle", *parts(), RECIPE, {"step": 7})
    return tmp_path / "bundle"


def restate(folder):
    """Make the manifest agree with the files again, so that only their contents can be wrong."""
    manifest = json.loads((folder / "bundle.json").read_text())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "bundle.json").write_text(json.dumps(manifest))


def refusal(folder) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "what"), [(None, "packed"), ("int8", "int8")])
def test_weights_for_answers_alone_are_not_written(tmp_path, kind, what):
    model, processor = parts()
    prepare(model, "bf16", kind)
    with pytest.raises(BundleError, match=f"the model's weights are {what}, for answers alone, and cannot be written"):
        save_bundle(tmp_path / "bundle", model, processor)
    assert not (tmp_path / "bundle").exists()


def test_routers_are_loaded_in_fp32_whatever_is_asked(tmp_path):
    model, processor = parts()
    moe = MoEConfig(experts=4, every=2)
    decoder = model.config.decoder.model_copy(update={"moe": moe})
    model = MultimodalModel(model.config.model_copy(update={"decoder": decoder}))
    model.init_weights(3)
    save_bundle(tmp_path / "bundle", model, processor)
    state = load_bundle(tmp_path / "bundle", dtype=torch.bfloat16).model.state_dict()
    wide = {name for name, tensor in state.items() if tensor.dtype == torch.float32}
    assert wide == {name for name in state if "router" in name} != set()
    assert all(torch.equal(state[name], model.state_dict()[name]) for name in wide)


def test_what_goes_in_comes_out(folder):
    model, processor = parts()
    bundle = load_bundle(folder)
    assert bundle.recipe == RECIPE
    assert bundle.extra == {"step": 7}
    assert bundle.model.config == model.config
    assert bundle.processor.fingerprint == processor.fingerprint
    for (name, mine), (same_name, theirs) in zip(
        model.state_dict().items(), bundle.model.state_dict().items(), strict=True
    ):
        assert name == same_name and torch.equal(mine, theirs) and theirs.dtype is torch.float32
    assert all(parameter.requires_grad for parameter in bundle.model.parameters())
    sample = random_sample(1)
    tokens_T = torch.where(sample.tokens_T == 1, model.config.image_token, sample.tokens_T)
    batch = pack(
        [type(sample)(tokens_T, sample.labels_T, sample.tiles_NCHW, "k", "s", "general")], model.config.image_token, 4
    )
    assert torch.equal(bundle.model(batch).logits_LV, model(batch).logits_LV)


def test_another_dtype_and_no_recipe(tmp_path):
    save_bundle(tmp_path / "b", *parts())
    bundle = load_bundle(tmp_path / "b", dtype=torch.bfloat16)
    assert bundle.recipe == {} and not (tmp_path / "b" / "recipe.yaml").exists()
    assert {tensor.dtype for tensor in bundle.model.state_dict().values()} == {torch.bfloat16}


def test_a_loaded_model_does_not_depend_on_the_file(folder):
    model = load_bundle(folder).model
    before = model.decoder.embedding.weight.detach().clone()
    os.truncate(folder / "model.safetensors", 10)
    assert torch.equal(model.decoder.embedding.weight, before)


def test_a_bundle_is_replaced_whole(folder):
    save_bundle(folder, *parts(), extra={"step": 8})
    assert load_bundle(folder).extra == {"step": 8}
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert not (folder / "recipe.yaml").exists()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "processor.json", "tokenizer.json", "recipe.yaml"]
)
def test_a_missing_cut_or_changed_file_is_named(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert f"{name}: {len(content) - 1} bytes, expected {len(content)}" in refusal(folder)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{name}: its contents differ" in refusal(folder)
    path.unlink()
    assert f"{name}: missing" in refusal(folder)


def test_all_damage_comes_in_one_error(folder):
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text("{}")
    (folder / "old").mkdir()
    (folder / "old" / "weights.bin").write_bytes(b"")
    said = refusal(folder)
    assert "3 problems" in said
    assert "model.safetensors: missing" in said and "config.json: 2 bytes" in said
    assert "weights.bin: pickle files can run code" in said


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.PT", "a.pth", "a.pkl", "a.pickle", "a.ckpt"])
def test_pickles_are_refused(folder, name):
    (folder / name).write_bytes(b"")
    assert name in refusal(folder)


def test_every_wrong_tensor_is_listed(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["decoder.final_norm.weight"] = torch.ones(5)
    tensors["vision.blocks.0.up.weight"] = tensors["vision.blocks.0.up.weight"].long()
    tensors["decoder.surprise"] = torch.ones(2)
    del tensors["connector.positions.weight"]
    save_file(tensors, folder / "model.safetensors")
    restate(folder)
    said = refusal(folder)
    assert "4 problems" in said
    assert "tensor decoder.final_norm.weight: shape [5], expected [48]" in said
    assert "tensor vision.blocks.0.up.weight: type I64, expected one of BF16, F16, F32" in said
    assert "tensor decoder.surprise: unknown to this model" in said
    assert "tensor connector.positions.weight: missing" in said


def test_a_truncated_safetensors_with_a_matching_hash_is_still_refused(folder):
    os.truncate(folder / "model.safetensors", 1000)
    restate(folder)
    assert "not a whole safetensors file" in refusal(folder)


def test_configs_are_strict(folder):
    config = json.loads((folder / "config.json").read_text())
    config["decoder"]["widht"] = config["decoder"].pop("width")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor.json").write_text("[")
    restate(folder)
    said = refusal(folder)
    assert "decoder.widht: unknown key (did you mean 'width'?)" in said
    assert "decoder.width: required" in said
    assert "processor.json: not valid JSON" in said


def test_a_processor_of_another_model_is_refused_when_saving_and_loading(folder, tmp_path):
    model, _ = parts()
    _, other = parts(tile=32, tokens_per_tile=9)
    with pytest.raises(
        BundleError, match=r"tokens per tile: processor 9, model 4(.|\n)*tile size: processor 32, model 16"
    ):
        save_bundle(tmp_path / "mixed", model, other)
    assert not (tmp_path / "mixed").exists()
    (folder / "processor.json").write_text(other.config.model_dump_json())
    restate(folder)
    assert "tile size: processor 32, model 16" in refusal(folder)


def test_manifest_problems(folder, tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "format": 99}))
    assert "format 99 is unknown" in refusal(folder)
    stray = {**manifest, "files": {**manifest["files"], "../x": manifest["files"]["config.json"]}}
    del stray["files"]["tokenizer.json"]
    (folder / "bundle.json").write_text(json.dumps(stray))
    said = refusal(folder)
    assert "tokenizer.json: not listed" in said and "../x: listed in bundle.json, but no part" in said
    (folder / "bundle.json").write_text(json.dumps(manifest)[:-5])
    assert "bundle.json: unreadable" in refusal(folder)
    (folder / "bundle.json").write_text("[]")
    assert "bundle.json: unreadable" in refusal(folder)
    (folder / "bundle.json").unlink()
    assert "bundle.json: missing" in refusal(folder)


@pytest.fixture
def sharded(tmp_path):
    save_bundle(tmp_path / "sharded", *parts(), RECIPE, shard_bytes=60_000)
    return tmp_path / "sharded"


def test_a_large_model_lies_in_shards(folder, sharded):
    shards = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert not (sharded / "model.safetensors").exists()
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    whole = load_file(folder / "model.safetensors")
    held = {name: load_file(sharded / name) for name in shards}
    assert index["weight_map"] == {name: file for file, tensors in held.items() for name in tensors}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
    for tensors in held.values():
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 60_000
    mine, theirs = load_bundle(folder).model.state_dict(), load_bundle(sharded).model.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    save_bundle(sharded, *parts())
    assert (sharded / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert not list(sharded.glob("model-*"))


def test_shards_that_do_not_belong_together_are_refused(sharded):
    names = sorted(path.name for path in sharded.glob("*.safetensors"))
    path = sharded / "model.safetensors.index.json"
    stated, manifest = path.read_text(), json.loads((sharded / "bundle.json").read_text())
    index = json.loads(stated)
    other = index["weight_map"] | {"decoder.final_norm.weight": "model-00001-of-00009.safetensors"}
    path.write_text(json.dumps(index | {"weight_map": other}))
    restate(sharded)
    assert "model-00001-of-00009.safetensors: named by model.safetensors.index.json, but not listed" in refusal(sharded)
    path.write_text(stated)
    tensors = load_file(sharded / names[1])
    again = dict(load_file(sharded / names[0]))
    save_file(tensors | again, sharded / names[1])
    restate(sharded)
    assert f"tensor {next(iter(again))}: in two shards" in refusal(sharded)
    save_file(tensors, sharded / names[1])
    (sharded / "bundle.json").write_text(json.dumps(manifest))
    (sharded / names[1]).unlink()
    assert f"{names[1]}: missing" in refusal(sharded)
    del manifest["files"][names[1]]
    (sharded / "bundle.json").write_text(json.dumps(manifest))
    assert f"{names[1]}: named by model.safetensors.index.json, but not listed" in refusal(sharded)
    del manifest["files"]["model.safetensors.index.json"]
    (sharded / "bundle.json").write_text(json.dumps(manifest))
    assert "model.safetensors.index.json: not listed in bundle.json" in refusal(sharded)
