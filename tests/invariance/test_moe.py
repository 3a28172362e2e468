"""The fast mixture of experts gives what a loop over rows gives: outputs, auxiliary losses, all gradients."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from mm15.base.batch import pack
from mm15.model import experts as fast
from mm15.model.layers import init_weights
from mm15.model.moe import MoE
from mm15.model.sizes import DecoderConfig, ModelConfig, MoEConfig
from unit.model.made import DEBUG, model, sample

WIDTH, INNER, EXPERTS, ROWS = 24, 40, 8, 57


def config_of(**changes):
    moe = MoEConfig(experts=EXPERTS, **changes)
    sizes = {"vocab_size": 64, "width": WIDTH, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16}
    return DecoderConfig(**sizes, mlp_width=INNER, moe=moe)


def layer_of(config, skew=0.0):
    """A layer whose router prefers a few experts the more, the larger ``skew``."""
    made = MoE(config, layer=1)
    init_weights(made, 0)
    with torch.no_grad():
        made.router.weight.mul_(20)
        made.router.weight.add_(skew * torch.linspace(1, 0, EXPERTS)[:, None].pow(3))
    return made


def rows_of(count=ROWS, skew=0.0):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, WIDTH, generator=generator) + (1 if skew else 0)


def oracle(made, x_TD):
    """Row by row and choice by choice, from the papers' formulas."""
    config = made.config
    gate_up, down = made.gate_up.weight, made.down.weight
    chances = (x_TD.float() @ made.router.weight.t()).softmax(-1)
    room = math.inf if config.capacity is None else max(1, int(len(x_TD) * config.capacity / EXPERTS))
    taken, dropped = [0] * EXPERTS, 0
    out = [torch.zeros(WIDTH) for _ in x_TD]
    chosen = [sorted(range(EXPERTS), key=lambda e: -row[e].item())[: config.top_k] for row in chances]
    for choice in range(config.top_k):
        for t, experts in enumerate(chosen):
            e = experts[choice]
            if taken[e] >= room:
                dropped += 1
                continue
            taken[e] += 1
            gate = chances[t][e]
            if config.renormalise:
                gate = gate / sum(chances[t][other] for other in experts)
            inner = F.silu(gate_up[e][:INNER] @ x_TD[t]) * (gate_up[e][INNER:] @ x_TD[t])
            out[t] = out[t] + gate * (down[e] @ inner)
    counted = [e for experts in chosen for e in (experts[:1] if config.top_k <= 2 else experts)]
    shares = torch.tensor([counted.count(e) / len(counted) for e in range(EXPERTS)])
    balance = EXPERTS * (shares * chances.mean(0)).sum()
    z = (x_TD.float() @ made.router.weight.t()).exp().sum(-1).log().square().mean()
    load = [sum(e in experts for experts in chosen) for e in range(EXPERTS)]
    return torch.stack(out), balance, z, load, dropped / len(x_TD) / config.top_k


def backward(made, out, objective, x_TD):
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    made.zero_grad()
    x_TD.grad = None
    ((out * weights).sum() + 100 * objective).backward()
    return {**{name: parameter.grad.clone() for name, parameter in made.named_parameters()}, "x": x_TD.grad.clone()}


@pytest.fixture(params=["looped", "grouped"])
def any_path(request, monkeypatch):
    monkeypatch.setattr(fast, "groups_on", lambda x_TD, down: request.param == "grouped")


@pytest.mark.parametrize("skew", [0.0, 0.15], ids=["even", "skewed"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"capacity": 2.0}, {"capacity": 0.5}, {"top_k": 3, "renormalise": False}, {"top_k": 1, "capacity": 1.0}],
    ids=["dropless", "cf2", "cf0.5", "top3", "top1"],
)
def test_layer_equals_the_loop(any_path, changes, skew):
    made = layer_of(config_of(**changes), skew)
    x_TD = rows_of(skew=skew).requires_grad_()
    routing = []
    out = made(x_TD, routing)
    expected, balance, z, load, dropped = oracle(made, x_TD)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    (told,) = routing
    assert told.layer == 1
    assert told.load_E.tolist() == load
    assert float(told.dropped) == pytest.approx(dropped)
    assert float(told.balance) == pytest.approx(balance.item(), rel=1e-5)
    assert float(told.z) == pytest.approx(z.item(), rel=1e-5)
    chances = (x_TD @ made.router.weight.t()).softmax(-1)
    assert float(told.entropy) == pytest.approx(-(chances * chances.log()).sum(-1).mean().item(), rel=1e-4)
    objective = made.config.balance_loss * balance + made.config.z_loss * z
    found, wanted = backward(made, out, told.objective, x_TD), backward(made, expected, objective, x_TD)
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(
            found[name], gradient, atol=2e-5, rtol=1e-4, msg=lambda text, at=name: f"{at}: {text}"
        )


def test_a_skewed_router_drops_rows_only_in_training():
    made = layer_of(config_of(capacity=1.0), skew=0.15)
    routing = []
    learned = made(rows_of(skew=0.15), routing)
    with torch.no_grad():
        answered = made(rows_of(skew=0.15), routing)
    assert float(routing[0].dropped) > 0.2 and float(routing[1].dropped) == 0
    assert (learned - answered).abs().max() > 1e-3
    # The rows whose two choices found room are what they are without a capacity.
    kept = (learned - answered).abs().amax(1) < 1e-6
    assert 0 < int(kept.sum()) < ROWS


def test_no_rows_and_idle_experts(any_path):
    made = layer_of(config_of(capacity=2.0))
    routing = []
    for count in (0, 1):
        x_TD = rows_of(count).requires_grad_()
        out = made(x_TD, routing)
        assert out.shape == (count, WIDTH)
        made.zero_grad()
        (out.sum() * 2 + routing[-1].objective).backward()
        used = made.down.weight.grad.abs().amax((1, 2)) > 0
        assert int(used.sum()) == 2 * count
        assert made.router.weight.grad.isfinite().all()


def test_bf16_follows_fp32(any_path):
    made = layer_of(config_of())
    x_TD = rows_of().bfloat16().float()  # the router is fp32 either way, so both choose the same experts
    expected, found = made(x_TD), made(x_TD.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.02 * expected.norm()
    grads = []
    for out in (expected, found):
        made.zero_grad()
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        grads.append({name: parameter.grad.clone() for name, parameter in made.named_parameters()})
    for name, gradient in grads[0].items():
        assert grads[1][name].dtype == torch.float32
        assert (grads[1][name] - gradient).norm() < 0.03 * gradient.norm(), name


@pytest.mark.parametrize("weight", ["balance_loss", "z_loss"])
def test_each_auxiliary_loss_reaches_the_router_and_lowers_itself(weight):
    made = layer_of(config_of(**{"balance_loss": 0.0, "z_loss": 0.0, weight: 1.0}), skew=0.15)
    x_TD = rows_of(skew=0.15)
    optimizer = torch.optim.SGD([made.router.weight], lr=0.02)
    values = []
    for _ in range(30):
        routing = []
        made(x_TD, routing)
        values.append(float(routing[0].balance if weight == "balance_loss" else routing[0].z))
        optimizer.zero_grad()
        routing[0].objective.backward()
        assert made.router.weight.grad.norm() > 0
        optimizer.step()
    assert values[-1] < 0.8 * values[0]


MOE_DEBUG = ModelConfig.model_validate(
    {
        **DEBUG.model_dump(),
        "decoder": {**DEBUG.decoder.model_dump(), "moe": {"experts": 4, "every": 1, "mlp_width": 32, "capacity": 2.0}},
    }
)
SAMPLES = [sample(n, tiles, seed) for seed, (n, tiles) in enumerate([(9, 2), (40, 3), (5, 0), (23, 1)])]


def packed(samples):
    return pack(samples, DEBUG.image_token, DEBUG.connector.tokens)


def sharp_model(config=MOE_DEBUG):
    made = model(config)
    with torch.no_grad():
        for block in made.decoder.blocks:
            block.mlp.router.weight.mul_(20)
    return made


@torch.no_grad()
def test_without_gradients_packed_equals_unpacked_and_only_labelled_rows():
    net = sharp_model()
    together = net(packed(SAMPLES))
    alone = torch.cat([net(packed([one])).logits_LV for one in SAMPLES])
    torch.testing.assert_close(together.logits_LV, alone, atol=1e-5, rtol=1e-5)
    # The last block sees labelled rows alone (``keep_R``), the blocks before it all.
    hidden = net.hidden(packed(SAMPLES))
    torch.testing.assert_close(net.decoder.head(hidden[together.positions_L]), together.logits_LV, atol=1e-5, rtol=1e-5)
    rows = [int(told.load_E.sum()) // 2 for told in together.routing]
    assert rows == [len(packed(SAMPLES).tokens_T), len(together.positions_L)]
    assert [told.layer for told in together.routing] == [0, 1]


def test_a_capacity_lets_neighbours_compete_in_training():
    net = sharp_model()
    together = net(packed(SAMPLES))
    alone = torch.cat([net(packed([one])).logits_LV for one in SAMPLES])
    assert sum(float(told.dropped) for told in together.routing) > 0
    assert (together.logits_LV - alone).abs().max() > 1e-3


def test_cached_equals_full():
    net = sharp_model()
    words = torch.randint(2, 60, (len(SAMPLES), 4), generator=torch.Generator().manual_seed(7))
    cache = net.new_cache(len(SAMPLES), max(one.num_tokens for one in SAMPLES) + 4)
    found = [net.prefill(packed(SAMPLES), cache)] + [net.decode(words[:, step], cache) for step in range(4)]
    with torch.no_grad():
        for step, logits in enumerate(found):
            longer = []
            for row, one in enumerate(SAMPLES):
                tokens_T = torch.cat([one.tokens_T, words[row, :step]])
                longer.append(dataclasses.replace(one, tokens_T=tokens_T, labels_T=torch.full_like(tokens_T, -100)))
            batch = packed(longer)
            expected = net.decoder.head(net.hidden(batch)[torch.tensor(batch.borders[1:]) - 1])
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
