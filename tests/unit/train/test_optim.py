from itertools import pairwise

import pytest
import torch
from torch import nn

from mm15.base.errors import ConfigError
from mm15.base.torch_rng import torch_rng
from mm15.train.optim import (
    AdaFactor,
    Muon,
    build_optimizer,
    decoder_size,
    mm1_rate,
    orthogonalise,
    rate_factor,
)
from mm15.train.run_config import OptimizerConfig, ScheduleConfig
from training_fixture import debug_model


def normal(*shape: int, key: object = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_rng(3, *shape, key))


def group_of(optimizer, parameter):
    groups = [group for inner in optimizer.optimizers for group in inner.param_groups]
    return next(group for group in groups if any(parameter is member for member in group["params"]))


def test_mm1_law_gives_the_rates_of_the_paper():
    for size, rate in ((1.2e9, 8.6e-5), (2.9e9, 5.9e-5), (6.4e9, 4.2e-5), (30e9, 2.2e-5)):
        assert mm1_rate(int(size)) == pytest.approx(rate, rel=0.02)


def test_mm1_law_counts_the_decoder_without_its_tables():
    model = debug_model()
    expected = sum(p.numel() for p in model.decoder.parameters()) - model.decoder.embedding.weight.numel()
    assert decoder_size(model) == expected
    optimizer = build_optimizer(model, OptimizerConfig(lr="mm1-law"))
    assert group_of(optimizer, model.vision.patch.weight)["peak"] == pytest.approx(mm1_rate(expected))


def test_schedule_warms_up_and_ends_at_its_share():
    schedule = ScheduleConfig(warmup=4, final=0.1)
    factors = [rate_factor(step, 100, schedule) for step in range(101)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert all(a >= b for a, b in pairwise(factors[4:]))
    assert factors[52] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert rate_factor(2, 100, ScheduleConfig(warmup=0.1)) == pytest.approx(0.3)
    assert rate_factor(99, 100, ScheduleConfig(kind="constant", warmup=0)) == 1.0


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_only_weights_between_layers_decay(kind):
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, tensor in model.state_dict().items():
        table = "embedding" in name or "positions" in name
        decays = before[name].ndim >= 2 and not table
        torch.testing.assert_close(tensor, before[name] * (0.95 if decays else 1.0), msg=name)


def test_untied_head_and_class_token_do_not_decay_either():
    model = nn.ModuleDict({"untied_head": nn.Linear(4, 6), "embedding": nn.Embedding(6, 4), "mix": nn.Linear(4, 4)})
    optimizer = build_optimizer(model, OptimizerConfig(kind="muon", weight_decay=0.5))
    muon, adamw = optimizer.optimizers
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(model["mix"].weight)]
    assert len([p for group in adamw.param_groups for p in group["params"]]) == 4
    assert all(group["weight_decay"] == 0 for group in adamw.param_groups)


def test_parts_have_their_own_rate_and_zero_freezes():
    model = debug_model()
    config = OptimizerConfig(lr=1e-3, lr_scale={"vision": 0, "connector": 0.5, "connector.positions": 2})
    optimizer = build_optimizer(model, config)
    assert not any(p.requires_grad for p in model.vision.parameters())
    assert not any(name.startswith("vision.") for name in optimizer.names.values())
    assert group_of(optimizer, model.connector.read_out.layers[0].weight)["peak"] == 5e-4
    assert group_of(optimizer, model.connector.positions.weight)["peak"] == 2e-3
    optimizer.set_rate(0.1)
    assert group_of(optimizer, model.decoder.embedding.weight)["lr"] == pytest.approx(1e-4)
    build_optimizer(model, OptimizerConfig())
    assert all(p.requires_grad for p in model.vision.parameters())


def test_wrong_part_names_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        build_optimizer(debug_model(), OptimizerConfig(lr_scale={"visoin": 1, "head": 0}))
    assert len(caught.value.problems) == 2
    assert "did you mean 'vision'" in str(caught.value)
    frozen = OptimizerConfig(lr_scale={"vision": 0, "connector": 0, "decoder": 0})
    with pytest.raises(ConfigError, match="every part is frozen"):
        build_optimizer(debug_model(), frozen)


@pytest.mark.parametrize("shape", [(3, 5), (7,), (4, 1, 3, 3)])
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_adafactor_follows_the_paper_written_out(shape, momentum):
    """Algorithms 4 and 5 of 1804.04235, element by element in double precision."""
    parameter = nn.Parameter(normal(*shape).double())
    optimizer = AdaFactor([parameter], lr=0.01, weight_decay=0.1, momentum=momentum)
    weight, average = parameter.detach().clone(), torch.zeros(shape, dtype=torch.float64)
    rows, cols, full = torch.zeros(shape[0]).double(), torch.zeros(shape[-1]).double(), torch.zeros(shape).double()
    for step in range(1, 6):
        grad = normal(*shape, key=step).double() * 10 ** (step - 3)
        beta2 = 1 - step**-0.8
        squares = grad**2 + 1e-30
        if len(shape) == 2:
            rows = beta2 * rows + (1 - beta2) * squares.sum(1)
            cols = beta2 * cols + (1 - beta2) * squares.sum(0)
            second = torch.tensor([[r * c / rows.sum() for c in cols] for r in rows])
        else:
            full = beta2 * full + (1 - beta2) * squares
            second = full
        update = grad / second.sqrt()
        update = update / max(1.0, float(update.pow(2).mean().sqrt()))
        if momentum is not None:
            average = momentum * average + (1 - momentum) * update
            update = average
        weight = weight * (1 - 0.01 * 0.1) - 0.01 * update

        parameter.grad = grad
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), weight, rtol=1e-6, atol=1e-9)


def test_adafactor_keeps_rows_and_columns_of_a_matrix_only():
    parameter = nn.Parameter(normal(30, 50))
    optimizer = AdaFactor([parameter], lr=0.01)
    parameter.grad = normal(30, 50, key=1)
    optimizer.step()
    assert sum(tensor.numel() for tensor in optimizer.state[parameter].values()) == 30 + 50 + 1


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """The iteration as published, one matrix, double precision."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (20, 48)])
def test_orthogonalise_equals_the_published_iteration_and_flattens_singular_values(shape):
    stack = torch.stack([normal(*shape, key=key) for key in range(3)])
    result = orthogonalise(stack, torch.float32)
    for matrix, mine in zip(stack, result, strict=True):
        torch.testing.assert_close(mine.double(), newton_schulz(matrix), rtol=1e-3, atol=1e-4)
        spread = torch.linalg.svdvals(mine)
        assert float(spread.min()) > 0.3 and float(spread.max()) < 1.3
    assert orthogonalise(torch.zeros(2, 4, 6)).abs().max() == 0


def test_muon_moves_as_the_one_in_torch():
    """torch's runs its iteration in bf16, hence the tolerance."""
    shapes = [(24, 40), (40, 24), (24, 40), (16, 16)]
    mine = [nn.Parameter(normal(*shape, key=i)) for i, shape in enumerate(shapes)]
    theirs = [nn.Parameter(p.detach().clone()) for p in mine]
    settings = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95}
    ours, reference = Muon(mine, **settings), torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **settings)
    start = [p.detach().clone() for p in mine]
    for step in range(4):
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            a.grad = normal(*a.shape, key=(index, step))
            b.grad = a.grad.clone()
        ours.step()
        reference.step()
    for a, b, origin in zip(mine, theirs, start, strict=True):
        moved, expected = (a - origin).detach(), (b - origin).detach()
        assert float((moved - expected).norm() / expected.norm()) < 0.03


def test_muon_treats_fused_matrices_one_by_one():
    fused, apart = nn.Parameter(normal(12, 8)), [nn.Parameter(x) for x in normal(12, 8).split((8, 4))]
    fused.grad = normal(12, 8, key=1)
    for parameter, grad in zip(apart, fused.grad.split((8, 4)), strict=True):
        parameter.grad = grad.clone()
    Muon([fused], lr=0.1, parts={fused: (8, 4)}).step()
    Muon(apart, lr=0.1).step()
    torch.testing.assert_close(fused.detach(), torch.cat([p.detach() for p in apart]))


def test_the_model_tells_muon_what_is_fused():
    model = debug_model()
    muon = build_optimizer(model, OptimizerConfig(kind="muon")).optimizers[0]
    qkv = model.decoder.blocks[0].attention.qkv
    assert isinstance(muon, Muon)
    assert muon.parts[qkv.weight] == qkv.parts
    assert len(qkv.parts) == 3


def test_muon_update_has_the_size_of_adamw():
    parameter = nn.Parameter(torch.zeros(48, 64))
    parameter.grad = normal(48, 64)
    Muon([parameter], lr=1.0).step()
    assert float(parameter.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_state_goes_out_and_in_by_name(kind):
    def run(optimizer, model, steps):
        for step in steps:
            for index, parameter in enumerate(model.parameters()):
                parameter.grad = normal(*parameter.shape, key=(index, step))
            optimizer.step()

    config = OptimizerConfig(kind=kind, momentum=None if kind == "adamw" else 0.9)
    model, other = debug_model(), debug_model()
    optimizer = build_optimizer(model, config)
    run(optimizer, model, range(3))
    other.load_state_dict(model.state_dict())
    resumed = build_optimizer(other, config)
    resumed.load_state({n: {k: t.clone() for k, t in state.items()} for n, state in optimizer.state().items()})
    run(optimizer, model, range(3, 5))
    run(resumed, other, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"decoder\.nowhere"):
        resumed.load_state({"decoder.nowhere": {}})
