"""int8 and packed weights: how far they are from the ones they stand for, in every way they are multiplied."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mm15.base.batch import pack as pack_samples
from mm15.model.quantise import FEW_ROWS, SOME_ROWS, Int8Linear, PackedLinear, pack, quantise, set_dtype, to_int8
from unit.model.made import DEBUG, model, sample


def made(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_weight_is_off_by_at_most_half_a_scale():
    weight = made(24, 40) * made(24, 1, seed=1).exp()
    weight[3] = 0
    whole, scale = to_int8(weight)
    assert whole.dtype == torch.int8 and int(whole.abs().max()) == 127
    assert bool(((whole * scale - weight).abs() <= scale / 2 * 1.0001).all())
    assert bool((whole[3] == 0).all())


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, SOME_ROWS, SOME_ROWS + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_way_multiplies_the_same_numbers(rows: int, dtype: torch.dtype):
    weight, bias, x = made(48, 64), made(48, seed=1), made(rows, 64, seed=2).to(dtype)
    x[0] *= 100  # rows have scales of their own
    layer = Int8Linear(weight, bias, dtype)
    whole, scale = to_int8(weight)
    expected = F.linear(x.float(), whole * scale, bias)
    error = (layer(x).float() - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)
    assert float(error.max()) < (1e-3 if dtype == torch.float32 else 2e-2)
    assert layer(x[None]).shape == (1, rows, 48)


def test_a_row_of_bytes_does_not_depend_on_its_neighbours():
    layer, x = Int8Linear(made(48, 64), None, torch.float32), made(9, 64, seed=2)
    other = x.clone()
    other[1:] *= 50
    assert torch.equal(layer(x)[0], layer(other)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights_multiply_as_they_did(dtype: torch.dtype):
    weight, bias = made(48, 64), made(48, seed=1)
    for rows in (1, 3, 70):
        x = made(rows, 64, seed=2).to(dtype)
        expected = F.linear(x, weight.to(dtype), bias.to(dtype))
        found = PackedLinear(weight, bias, dtype)(x)
        torch.testing.assert_close(found, expected, atol=1e-5 if dtype == torch.float32 else 0.1, rtol=1e-2)


def test_a_quantised_model_says_nearly_the_same():
    samples = [sample(20, 2, 1), sample(9, 0, 2)]
    batch = pack_samples(samples, DEBUG.image_token, DEBUG.connector.tokens)
    plain, small, packed = model(), model(), model()
    quantise(small)
    pack(packed)
    assert not any("decoder.blocks" in name and "qkv" in name for name in small.state_dict())
    found = {}
    for name, net in (("plain", plain), ("int8", small), ("packed", packed)):
        cache = net.new_cache(2, 64)
        found[name] = torch.cat([net.prefill(batch, cache), net.decode(torch.tensor([5, 6]), cache)]).float()
    torch.testing.assert_close(found["packed"], found["plain"], atol=1e-4, rtol=1e-4)
    likeness = F.cosine_similarity(found["int8"], found["plain"], dim=1)
    assert float(likeness.min()) > 0.995


def test_refusals():
    net = model()
    with pytest.raises(ValueError, match="unknown quantisation 'int3'; there is: int8"):
        quantise(net, "int3")
    with pytest.raises(ValueError, match="the model lies on meta; use device cpu"):
        quantise(net.to("meta"))
    half = model()
    set_dtype(half, torch.bfloat16)
    assert half.compute_dtype == half.decoder.embedding.weight.dtype == torch.bfloat16
