"""int8 and packed weights: how far they are from the ones they stand for, in every way they are multiplied."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mm15.base.batch import pack as pack_samples
from mm15.base.errors import ConfigError
from mm15.model.moe import MoE
from mm15.model.multimodal import MultimodalModel
from mm15.model.quantise import (
    FEW_ROWS,
    SOME_ROWS,
    Int8Linear,
    PackedLinear,
    pack,
    prepare,
    quantise,
    set_dtype,
    to_int8,
)
from mm15.model.sizes import MoEConfig
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


def with_experts() -> MultimodalModel:
    moe = MoEConfig(experts=4, every=2)
    return model(DEBUG.model_copy(update={"decoder": DEBUG.decoder.model_copy(update={"moe": moe})}))


def cached_logits(net: MultimodalModel) -> torch.Tensor:
    """Of two prompts and four further tokens of each, through the cache, fp32 [10, V]."""
    batch = pack_samples([sample(20, 2, 1), sample(9, 0, 2)], DEBUG.image_token, DEBUG.connector.tokens)
    cache = net.new_cache(2, 64)
    logits = [net.prefill(batch, cache)]
    logits += [net.decode(torch.tensor([5 + step, 9 - step]), cache) for step in range(4)]
    return torch.cat(logits).float()


@pytest.mark.parametrize("make", [model, with_experts])
@pytest.mark.parametrize("packs", [False, True])
def test_bf16_points_where_fp32_points(make, packs: bool):
    half = make()
    prepare(half, "bf16") if packs else set_dtype(half, torch.bfloat16)
    assert half.layout == ("packed" if packs else "") and half.compute_dtype == torch.bfloat16
    exact, found = cached_logits(make()), cached_logits(half)
    assert float(F.cosine_similarity(found, exact, dim=1).min()) > 0.999
    assert not torch.equal(found, exact)


def test_fp32_asked_for_or_not_is_the_same_to_the_bit():
    plain, asked = model(), model()
    prepare(plain)
    prepare(asked, "fp32")
    assert (plain.layout, asked.layout) == ("", "")
    assert torch.equal(cached_logits(plain), cached_logits(model()))
    assert torch.equal(cached_logits(asked), cached_logits(model()))


def test_what_was_kept_in_bf16_is_widened_once():
    kept, widened = model(), model()
    kept.to(torch.bfloat16)
    widened.to(torch.bfloat16)
    prepare(widened, "fp32")
    assert widened.decoder.embedding.weight.dtype == torch.float32
    assert torch.equal(cached_logits(widened), cached_logits(kept))


def test_routers_keep_fp32_and_experts_keep_their_layout():
    net, exact = with_experts(), with_experts()
    prepare(net, "bf16")
    layers = [(name, module) for name, module in net.named_modules() if isinstance(module, MoE)]
    assert layers
    for name, layer in layers:
        assert torch.equal(layer.router.weight, exact.get_submodule(name).router.weight)  # type: ignore[arg-type]
        assert layer.router.weight.dtype == torch.float32
        assert layer.gate_up.weight.dtype == layer.down.weight.dtype == torch.bfloat16
    assert isinstance(net.get_submodule("decoder.blocks.0.attention.qkv"), PackedLinear)


def test_refusals():
    experts = with_experts()
    with pytest.raises(ValueError, match=r"experts have no int8 weights.*blocks\.1\.mlp\.gate_up.*use dtype bf16"):
        quantise(experts)
    with pytest.raises(ConfigError, match="experts have no int8"):
        prepare(experts, kind="int8")
    assert not experts.layout and isinstance(cached_logits(experts), torch.Tensor)
    with pytest.raises(ConfigError, match="unknown dtype 'fp16'; there are: fp32, bf16"):
        prepare(experts, "fp16")
    with pytest.raises(ConfigError, match="int8 weights compute in bf16, and fp32 was asked for"):
        prepare(experts, "fp32", "int8")
    laid = model()
    pack(laid)
    with pytest.raises(ValueError, match="this model has packed ones; load it again"):
        quantise(laid)
    net = model()
    with pytest.raises(ValueError, match="unknown quantisation 'int3'; there is: int8"):
        quantise(net, "int3")
    with pytest.raises(ValueError, match="the model lies on meta; use device cpu"):
        quantise(net.to("meta"))
    half = model()
    set_dtype(half, torch.bfloat16)
    assert half.compute_dtype == half.decoder.embedding.weight.dtype == torch.bfloat16
