"""Training a model with experts: optimizers, the auxiliary losses in a step, and what the log tells."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mm15.base.torch_rng import torch_rng
from mm15.model.experts import Experts
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import ModelConfig
from mm15.train.loop import train
from mm15.train.optim import AdaFactor, Muon, build_optimizer, decoder_size
from mm15.train.run_config import OptimizerConfig, TrainConfig
from mm15.train.step import train_step
from training_fixture import CONFIG, RandomPacks, debug_model, random_pack

EXPERTS = 4


def moe_model(seed: int = 0, **changes: float) -> MultimodalModel:
    raw = CONFIG.model_dump()
    raw["decoder"]["moe"] = {"experts": EXPERTS, "every": 2, **changes}
    model = MultimodalModel(ModelConfig.model_validate(raw))
    model.init_weights(seed)
    return model


def normal(*shape: int, key: object = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_rng(4, *shape, key))


@pytest.mark.parametrize("shape", [(3, 12, 8), (3, 8, 12)])
@pytest.mark.parametrize("make", ["adafactor", "muon"])
def test_a_stack_of_experts_moves_as_its_matrices_would_alone(make, shape):
    stacked = nn.Parameter(normal(*shape))
    alone = [nn.Parameter(matrix.detach().clone()) for matrix in stacked]
    parts = (shape[1] // 2, shape[1] // 2)
    if make == "adafactor":
        ours = AdaFactor([stacked], lr=0.1, weight_decay=0.1, momentum=0.9)
        theirs = AdaFactor(alone, lr=0.1, weight_decay=0.1, momentum=0.9)
    else:
        ours = Muon([stacked], lr=0.1, weight_decay=0.1, parts={stacked: parts})
        theirs = Muon(alone, lr=0.1, weight_decay=0.1, parts=dict.fromkeys(alone, parts))
    for step in range(3):
        stacked.grad = normal(*shape, key=step) * torch.tensor([1e-3, 1.0, 10.0])[:, None, None]
        for parameter, grad in zip(alone, stacked.grad, strict=True):
            parameter.grad = grad.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(stacked.detach(), torch.stack([p.detach() for p in alone]))
    if make == "adafactor":
        numbers = sum(tensor.numel() for name, tensor in ours.state[stacked].items() if name in ("row", "col"))
        assert numbers == 3 * (shape[1] + shape[2])


def test_muon_takes_experts_and_leaves_the_router_to_adamw():
    model = moe_model()
    muon, adamw = build_optimizer(model, OptimizerConfig(kind="muon", weight_decay=0.1)).optimizers
    assert isinstance(muon, Muon)
    mlp = model.decoder.blocks[1].mlp
    by_muon = {id(p) for group in muon.param_groups for p in group["params"]}
    assert {id(mlp.gate_up.weight), id(mlp.down.weight)} <= by_muon
    assert muon.parts[mlp.gate_up.weight] == (CONFIG.decoder.mlp_width,) * 2
    (group,) = [group for group in adamw.param_groups if any(p is mlp.router.weight for p in group["params"])]
    assert group["weight_decay"] == 0.1


def test_mm1_law_gives_the_rate_of_the_dense_twin():
    assert decoder_size(moe_model()) == decoder_size(debug_model())


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_every_parameter_of_the_experts_learns(kind):
    model = moe_model(capacity=2.0)
    optimizer = build_optimizer(model, OptimizerConfig(kind=kind, lr=1e-2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".mlp." in name}
    first = train_step(model, optimizer, [random_pack(0)], clip=1.0)
    for _ in range(20):
        last = train_step(model, optimizer, [random_pack(0)], clip=1.0)
    assert last.loss < 0.7 * first.loss
    stacks = [name for name, module in model.named_modules() if isinstance(module, Experts)]
    assert stacks == ["decoder.blocks.1.mlp.gate_up", "decoder.blocks.1.mlp.down"]
    for name, tensor in model.state_dict().items():
        if ".mlp." in name:
            moved = (tensor - before[name]).abs()
            assert (moved.amax(dim=tuple(range(1, moved.ndim))) > 0).all(), name


def test_a_step_adds_the_mean_of_the_packs_auxiliary_losses():
    batches = [random_pack(0), random_pack(1, samples=3)]
    model, fresh = moe_model(), moe_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    seen = {}
    optimizer.step = lambda: seen.update({n: p.grad.clone() for n, p in model.named_parameters()})
    report = train_step(model, optimizer, batches, clip=1e9)

    targets = sum(batch.num_targets for batch in batches)
    outputs = [fresh(batch) for batch in batches]
    words = sum(F.cross_entropy(out.logits_LV, out.targets_L, reduction="sum") for out in outputs) / targets
    told = [out.routing[0] for out in outputs]
    extra = sum(0.01 * one.balance + 0.001 * one.z for one in told) / 2
    assert float(sum(one.objective for one in told).detach()) / 2 == pytest.approx(float(extra), rel=1e-6)
    (words + sum(one.objective for one in told) / 2).backward()
    for name, parameter in fresh.named_parameters():
        torch.testing.assert_close(seen[name], parameter.grad, atol=1e-7, rtol=1e-4)
    # The cross-entropy alone gives the router another gradient: what is added is not detached.
    router = "decoder.blocks.1.mlp.router.weight"
    bare = moe_model(balance_loss=0.0, z_loss=0.0)
    outputs = [bare(batch) for batch in batches]
    (sum(F.cross_entropy(o.logits_LV, o.targets_L, reduction="sum") for o in outputs) / targets).backward()
    assert (seen[router] - bare.get_parameter(router).grad).norm() > 0.01 * seen[router].norm()
    # The loss that is told stays the cross-entropy.
    assert report.loss == pytest.approx(float(words.detach()), rel=1e-5)
    (layer,) = report.routing
    load_E = sum(one.load_E for one in told)
    assert layer["layer"] == 1
    assert layer["load_max"] == pytest.approx(float(load_E.max() / load_E.mean()))
    assert layer["load_min"] == pytest.approx(float(load_E.min() / load_E.mean()))
    assert layer["entropy"] == pytest.approx(float(told[0].entropy + told[1].entropy) / 2)
    assert layer["balance"] == pytest.approx(float(told[0].balance + told[1].balance) / 2)


def test_the_log_tells_every_layer_with_experts_and_nothing_of_dense_models(tmp_path):
    config = TrainConfig(steps=2, precision="fp32", optimizer=OptimizerConfig(lr=1e-3))
    train(moe_model(capacity=0.5), RandomPacks(), config, tmp_path / "moe")
    train(debug_model(), RandomPacks(), config, tmp_path / "dense")
    lines = [json.loads(line) for line in (tmp_path / "moe" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        (layer,) = line["routing"]
        assert layer["layer"] == 1
        assert 0.4 < layer["dropped"] < 1
        assert layer["load_max"] >= 1 >= layer["load_min"]
        assert 0 < layer["entropy"] <= math.log(EXPERTS) + 1e-6
        assert layer["balance"] > 0.5 and layer["z"] > 0
    assert "routing" not in (tmp_path / "dense" / "log.jsonl").read_text()
