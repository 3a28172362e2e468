import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from mm15.model.decoder import Decoder
from mm15.model.layers import GridTable, Linear, RMSNorm, Rotation, Table, activate, init_weights, roll_half
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, DecoderConfig


def test_linear_computes_in_the_dtype_of_its_input():
    layer = Linear(6, (4, 2))
    init_weights(layer, 0)
    x = torch.randn(5, 6)
    out = layer(x.bfloat16())
    assert (out.dtype, out.shape, layer.parts) == (torch.bfloat16, (5, 6), (4, 2))
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), F.linear(x, layer.weight, layer.bias), atol=0.05, rtol=0.05)
    assert layer.to(torch.bfloat16)(x).dtype == torch.float32


def test_rms_norm_equals_the_definition_with_gradients():
    norm = RMSNorm(8, 1e-3).double()
    x = torch.randn(3, 5, 8, dtype=torch.double, requires_grad=True)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(8) + 0.5)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-3))
    with torch.no_grad():
        torch.testing.assert_close(norm.float()(x.float()).double(), norm.double()(x), atol=1e-6, rtol=1e-5)
    assert gradcheck(lambda x, weight: torch.func.functional_call(norm, {"weight": weight}, (x,)), (x, norm.weight))


def test_rms_norm_in_bfloat16_stays_near_fp32():
    norm = RMSNorm(64, 1e-6)
    init_weights(norm, 0)
    x = torch.randn(50, 64) * 30
    torch.testing.assert_close(norm(x.bfloat16()).float(), norm(x), atol=0.03, rtol=0.02)


def test_rotation_keeps_lengths_and_depends_on_distance_only():
    rotation = Rotation(
        torch.tensor([3, 7, 103, 107]), (10_000.0 ** (-torch.arange(0, 16, 2) / 16), 1.0), torch.float32
    )
    x = torch.randn(1, 2, 16).expand(4, 2, 16)
    y = torch.randn(1, 2, 16).expand(4, 2, 16)
    torch.testing.assert_close(rotation(x).norm(dim=-1), x.norm(dim=-1))
    near, far = (rotation(x)[0] * rotation(y)[1]).sum(-1), (rotation(x)[2] * rotation(y)[3]).sum(-1)
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)


def test_rotation_gradient():
    rotation = Rotation(torch.arange(3), (torch.tensor([1.0, 0.1]), 1.0), torch.double)
    assert gradcheck(rotation, (torch.randn(3, 2, 4, dtype=torch.double, requires_grad=True),))


def test_activations_differ():
    x = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(activate(x, "quick_gelu"), x / (1 + torch.exp(-1.702 * x)))
    torch.testing.assert_close(activate(x, "gelu"), F.gelu(x))
    assert 1e-4 < (activate(x, "gelu_tanh") - F.gelu(x)).abs().max() < 1e-2


def test_init_depends_on_seed_and_name_only():
    first, second, other = (MultimodalModel(SIZES["debug"]) for _ in range(3))
    torch.manual_seed(5)
    first.init_weights(1)
    torch.manual_seed(6)
    second.init_weights(1)
    other.init_weights(2)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.decoder.embedding.weight, other.decoder.embedding.weight)
    blocks = first.decoder.blocks
    assert not torch.equal(blocks[0].attention.qkv.weight, blocks[1].attention.qkv.weight)


def test_tables_start_truncated():
    table = Table(200, 50)
    init_weights(table, 0)
    assert table.weight.abs().max() <= 0.04
    assert 0.016 < table.weight.std() < 0.019


def test_a_model_is_built_without_memory_and_filled_later():
    with torch.device("meta"):
        late = MultimodalModel(SIZES["debug"])
    assert all(parameter.is_meta for parameter in late.parameters())
    assert not list(late.buffers())
    late.to_empty(device="cpu")
    late.init_weights(1)
    now = MultimodalModel(SIZES["debug"])
    now.init_weights(1)
    assert all(torch.equal(a, b) for a, b in zip(late.parameters(), now.parameters(), strict=True))


@pytest.mark.parametrize(("side", "width", "front"), [(8, 96, 0), (4, 32, 1), (3, 10, 1)])
def test_a_grid_table_starts_with_neighbours_alike(side: int, width: int, front: int):
    table = GridTable(side, width, front)
    with torch.no_grad():
        table.start(torch.Generator())
    assert table.weight.shape == (front + side**2, width)
    assert not table.weight[:front].any()
    rows = table.weight[front:].detach()
    # Whole waves have one length; channels that are left over (10 = 2 · 4 + 2) stay zero.
    assert torch.allclose(rows.square().mean(1), torch.full((side**2,), 0.25 * (width // 4 * 4) / width), atol=1e-5)
    likeness = (rows @ rows.T).view(side, side, side, side)
    here = likeness[0, 0]
    assert torch.allclose(here, here.T, atol=1e-4), "rows and columns are told alike"
    assert here[0, 0] > here[0, 1] > here[0, 2] and here[0, 1] > here[1, 1]


def test_a_word_starts_by_finding_what_is_aligned_with_it_and_not_itself():
    config = DecoderConfig(vocab_size=8, width=64, layers=1, heads=4, kv_heads=2, head_dim=32, mlp_width=8)
    decoder = Decoder(config)
    init_weights(decoder, 0)
    query, key, _ = decoder.blocks[0].attention.qkv.weight.split([128, 64, 64])  # type: ignore[union-attr]
    words_WD = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    for group in range(2):
        heads = query[group * 64 : group * 64 + 32], key[group * 32 : group * 32 + 32]
        asked = words_WD @ heads[0].T
        assert ((asked @ (roll_half(words_WD) @ heads[1].T).T).argmax(1) == torch.arange(8)).all()
        itself = (asked * (words_WD @ heads[1].T)).sum(1).abs()
        assert (itself < 0.6 * asked.square().sum(1)).all()
