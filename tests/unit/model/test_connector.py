import math

import pytest
import torch

from mm15.model.connector import (
    AttentionPool,
    AveragePool,
    CAbstractor,
    PatchMLP,
    PixelShuffle,
    adaptive_pool,
    build_connector,
)
from mm15.model.layers import init_weights
from mm15.model.sizes import SIZES, ConnectorConfig, ModelConfig
from mm15.model.vit import resize_positions


def made(grid=6, **changes):
    connector = build_connector(ConnectorConfig(**({"tokens": 4, "hidden": 24, "depth": 1} | changes)), 20, grid, 12)
    init_weights(connector, 0)
    return connector


@pytest.mark.parametrize(("grid", "size"), [(6, 3), (7, 3), (27, 12), (16, 12)])
def test_pooling_bins_follow_the_rule(grid, size):
    x = torch.randn(2, grid, grid, 5)
    bins = [slice(math.floor(k * grid / size), math.ceil((k + 1) * grid / size)) for k in range(size)]
    expected = torch.stack([torch.stack([x[:, rows, columns].mean((1, 2)) for columns in bins], 1) for rows in bins], 1)
    torch.testing.assert_close(adaptive_pool(x, size), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, CAbstractor),
        ({"depth": 2, "mlp_depth": 3, "pre_norm": True}, CAbstractor),
        ({"kind": "average"}, AveragePool),
        ({"kind": "attention", "tokens": 5}, AttentionPool),
        ({"kind": "mlp", "tokens": 36}, PatchMLP),
        ({"kind": "pixel-shuffle", "tokens": 9}, PixelShuffle),
    ],
)
def test_kinds_shapes_and_that_every_parameter_matters(changes, kind):
    connector = made(**changes)
    assert isinstance(connector, kind)
    out = connector(torch.randn(3, 36, 20))
    assert out.shape == (3, changes.get("tokens", 4), 12)
    (out * torch.randn(out.shape)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in connector.parameters())


def test_depth_zero_is_positions_pooling_and_mlp():
    connector, x = made(depth=0), torch.randn(2, 36, 20)
    pooled = adaptive_pool((x + connector.positions.weight).unflatten(1, (6, 6)), 2).flatten(1, 2)
    torch.testing.assert_close(connector(x), connector.read_out(pooled))
    assert not connector.stage1 and not connector.stage2


def test_squeeze_uses_the_input_width_of_the_block():
    connector = made(depth=2)
    widths = [block.squeeze.weight.shape[0] for block in (*connector.stage1, *connector.stage2)]
    assert widths == [5, 6, 6, 6]


def test_published_parameter_count():
    """d_vis 1280, hidden 1024, d_llm 2048, 27 x 27 patches: 9.62M + 7.91M + 6.30M and a position table of 0.93M."""
    with torch.device("meta"):
        connector = build_connector(ConnectorConfig(tokens=144), 1280, 27, 2048)
    assert isinstance(connector, CAbstractor)
    count = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in connector.named_children()}
    assert {name: round(number, 2) for name, number in count.items()} == {
        "positions": 0.93,
        "stage1": 9.62,
        "stage2": 7.91,
        "read_out": 6.3,
    }


def test_tiles_do_not_see_each_other():
    connector, x = made(), torch.randn(3, 36, 20)
    torch.testing.assert_close(connector(x)[2:], connector(x[2:]), atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_near_fp32():
    connector, x = made(), torch.randn(3, 36, 20)
    low = connector(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert (low.float() - connector(x)).abs().max() < 0.1


def test_position_table_moves_to_another_grid():
    small, large = made(grid=6), made(grid=9)
    state = small.state_dict()
    state["positions.weight"] = resize_positions(state["positions.weight"], 6, 9)
    large.load_state_dict(state)
    assert large(torch.randn(1, 81, 20)).shape == (1, 4, 12)


@pytest.mark.parametrize(
    ("kind", "tokens", "said"),
    [
        ("mlp", 4, "connector 'mlp' makes a token of each of the 16 patches, tokens 4"),
        ("pixel-shuffle", 9, "tokens 9 must be the square of a divisor of 4, the patches along a tile's side"),
    ],
)
def test_tokens_that_do_not_fit_the_patches_are_refused(kind, tokens, said):
    raw = SIZES["debug"].model_dump()
    raw["connector"] |= {"kind": kind, "tokens": tokens}
    with pytest.raises(ValueError, match=said):
        ModelConfig.model_validate(raw)
    with pytest.raises(ValueError, match=kind):
        build_connector(ConnectorConfig(kind=kind, tokens=tokens), 20, 4, 12)
