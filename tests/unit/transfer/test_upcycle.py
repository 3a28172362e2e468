"""Upcycling: the new model says what the old one said, then its experts part; and the verbs about models."""

import json

import pytest
import torch
from typer.testing import CliRunner

from mm15.base.errors import BundleError, ConfigError, MM15Error
from mm15.bundle import load_bundle, save_bundle
from mm15.cli import app
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, MoEConfig, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.tokenizer import train_tokenizer
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from mm15.transfer.describing import describe_model, splitting, text_of
from mm15.transfer.upcycle import compare, upcycle, upcycle_bundle
from training_fixture import debug_model, random_pack

SPECIALS = ("<|bos|>", "<|image|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


@pytest.fixture
def folder(tmp_path):
    tokenizer = train_tokenizer(["what is it?"], SPECIALS)
    processor = Processor(ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4), tokenizer)
    model = MultimodalModel(with_vocab(SIZES["debug"], tokenizer.vocab_size, processor.image_token))
    model.init_weights(3)
    save_bundle(tmp_path / "dense", model, processor, {"stage": "sft"}, {"step": 7})
    return tmp_path / "dense"


@pytest.mark.parametrize("moe", [MoEConfig(experts=6, every=2), MoEConfig(experts=4, every=1, top_k=3)])
def test_the_upcycled_model_says_what_the_dense_one_says(moe):
    dense = debug_model()
    sparse = upcycle(dense, moe)
    for number in range(3):
        batch = random_pack(number)
        expected, found = dense(batch), sparse(batch)
        torch.testing.assert_close(found.logits_LV, expected.logits_LV, atol=2e-5, rtol=1e-5)
    difference, scale = compare(dense, sparse)
    assert difference < 1e-5 * scale and scale > 0.1
    # Rows are dealt out by now: nearly every expert is met, at near-even gates, and none is twice the same router.
    layers = [layer for layer in range(2) if moe.in_layer(layer)]
    assert [one.layer for one in found.routing] == layers
    assert all((one.load_E > 0).all() for one in found.routing)
    routers = [sparse.decoder.blocks[layer].mlp.router.weight for layer in layers]
    assert len({router.sum().item() for router in routers}) == len(layers)


def test_a_capacity_makes_the_difference_only_while_training():
    dense, batch = debug_model(), random_pack(0)
    sparse = upcycle(dense, MoEConfig(experts=6, capacity=0.5))
    assert (sparse(batch).logits_LV - dense(batch).logits_LV).abs().max() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(sparse(batch).logits_LV, dense(batch).logits_LV, atol=2e-5, rtol=1e-5)


def test_experts_part_in_training_and_nothing_is_shared_with_the_dense_model():
    dense = debug_model()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    sparse = upcycle(dense, MoEConfig(experts=4))
    down = sparse.decoder.blocks[1].mlp.down.weight
    assert all(torch.equal(down[0], down[expert]) for expert in range(4))
    optimizer = build_optimizer(sparse, OptimizerConfig(lr=1e-3))
    losses = [train_step(sparse, optimizer, [random_pack(step % 2)], clip=1.0).loss for step in range(20)]
    assert losses[-1] < losses[0]
    assert all(not torch.equal(down[0], down[expert]) for expert in range(1, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.state_dict().items())


@pytest.mark.parametrize(
    ("moe", "message"),
    [
        (MoEConfig(experts=4, every=3), "every 3 leaves no layer of 2"),
        (MoEConfig(experts=4, renormalise=False), "renormalise must be on"),
        (MoEConfig(experts=4, mlp_width=8), "mlp_width 8 is not the dense network's 80"),
    ],
)
def test_what_cannot_be_upcycled_is_refused(moe, message):
    with pytest.raises(ConfigError, match=message):
        upcycle(debug_model(), moe)


def test_an_upcycled_model_is_not_upcycled_again():
    sparse = upcycle(debug_model(), MoEConfig(experts=4))
    with pytest.raises(ConfigError, match="has 4 experts already"):
        upcycle(sparse, MoEConfig(experts=4))


def test_a_bundle_goes_in_and_one_with_experts_comes_out(folder, tmp_path):
    out = tmp_path / "sparse"
    result = CliRunner().invoke(app, ["upcycle", str(folder), "--out", str(out), "--experts", "4", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    dense, sparse = load_bundle(folder), load_bundle(out)
    assert told["layers"] == [1] and told["experts"] == 4 and told["difference"] < 1e-4
    assert told["parameters"] == sum(parameter.numel() for parameter in sparse.model.parameters())
    assert sparse.model.config.decoder.moe == MoEConfig(experts=4, every=2, capacity=2.0)
    assert sparse.recipe == {"stage": "sft"}
    assert (sparse.extra["step"], sparse.extra["upcycled"]["experts"]) == (7, 4)
    assert sparse.processor.config == dense.processor.config
    assert compare(dense.model, sparse.model)[0] < 1e-4


def test_a_bundle_that_says_nothing_finite_is_not_written(folder, tmp_path):
    bundle = load_bundle(folder)
    with torch.no_grad():
        bundle.model.decoder.final_norm.weight[0] = float("nan")
    save_bundle(tmp_path / "broken", bundle.model, bundle.processor)
    with pytest.raises(MM15Error, match="nothing was written"):
        upcycle_bundle(tmp_path / "broken", tmp_path / "out", MoEConfig(experts=4))
    assert not (tmp_path / "out").exists()


def test_describe_tells_sizes_and_bundles(folder):
    size = CliRunner().invoke(app, ["describe", "3b-moe"])
    assert size.exit_code == 0
    assert "64.5 B" in size.stdout and "64 experts, 2 of them" in size.stdout and "720 - 1440" in size.stdout
    raw = json.loads(CliRunner().invoke(app, ["describe", str(folder), "--json"]).stdout)
    model = load_bundle(folder).model
    assert raw["numbers"]["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert raw["numbers"]["pictures"][0]["splitting"] == {
        "name": "training, of this bundle: dynamic 4-9 and overview",
        "tile": 16,
        "least": 5,
        "most": 10,
    }
    described = describe_model(folder)
    assert "dense" in text_of(described) and "experts" not in text_of(described)


def test_describe_refuses_what_is_neither(tmp_path):
    with pytest.raises(ConfigError, match=r"3b-mo is neither a size.*3b-moe.* nor a folder"):
        describe_model("3b-mo")
    with pytest.raises(BundleError, match="is not a bundle"):
        describe_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        describe_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mode": "none"}, (1, 1)),
        ({"mode": "static"}, (5, 5)),
        ({"mode": "static", "overview": "none"}, (4, 4)),
        ({"n_min": 1, "n_max": 9}, (1, 10)),
        ({"n_min": 3, "n_max": 6, "overview": "before"}, (4, 7)),
        ({"mode": "fill", "n_max": 10}, (4, 10)),
        ({"mode": "fill", "n_min": 1, "n_max": 3}, (1, 1)),
    ],
)
def test_tiles_of_a_policy(changes, expected):
    cut = splitting("x", SplitPolicy(tile=64, **changes))
    assert (cut.least, cut.most) == expected
