import itertools

import pytest
import torch

from mm15.model import attention
from mm15.model.attention import Segments, attend, causal_attention

HEADS, KV_HEADS, HEAD_DIM = 4, 2, 8


def stream(lengths, seed=0):
    borders = (0, *itertools.accumulate(lengths))
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(borders[-1], HEADS + 2 * KV_HEADS, HEAD_DIM, generator=generator, dtype=torch.double)
    return qkv, borders, Segments(borders, HEADS, KV_HEADS, torch.device("cpu"), qkv.dtype)


def by_mask(qkv, borders):
    """The definition: one dense mask over the whole stream."""
    q, k, v = qkv.split([HEADS, KV_HEADS, KV_HEADS], dim=1)
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
    segment = torch.cat([torch.full((b - a,), i) for i, (a, b) in enumerate(itertools.pairwise(borders))])
    place = torch.arange(borders[-1])
    seen = (segment[:, None] == segment) & (place[:, None] >= place)
    scores = torch.einsum("qhd,khd->hqk", q, k) * HEAD_DIM**-0.5
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("lengths", [(1,), (5, 5, 5), (1, 40, 7, 33, 2, 70, 64, 65), tuple(range(1, 30))])
@pytest.mark.parametrize("written_out_up_to", [256, 40, 0])
def test_equals_the_dense_mask_with_gradients(lengths, written_out_up_to, monkeypatch):
    monkeypatch.setattr(attention, "WRITTEN_OUT_UP_TO", written_out_up_to)
    qkv, borders, segments = stream(lengths)
    outs, grads = [], []
    for run in (lambda x: causal_attention(x, segments), lambda x: by_mask(x, borders)):
        x = qkv.clone().requires_grad_()
        out = run(x)
        out.backward(torch.linspace(-1, 1, out.numel(), dtype=torch.double).view_as(out))
        outs.append(out.detach())
        grads.append(x.grad)
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*grads)


def test_padding_reaches_nobody():
    lengths = (50, 39, 45)
    qkv, borders, segments = stream(lengths)
    assert len(segments.buckets) == 1
    clean = causal_attention(qkv, segments)
    qkv[borders[1] : borders[2]] = torch.nan
    spoiled = causal_attention(qkv, segments)
    for start, end in (borders[:2], borders[2:]):
        assert torch.equal(clean[start:end], spoiled[start:end])


def test_buckets_waste_little():
    lengths = [3, 4, 30, 31, 60, 200, 210, 500]
    _, _, segments = stream(lengths)
    assert sum(bucket.segments for bucket in segments.buckets) == len(lengths)
    assert len(segments.buckets) <= 5
    assert sum(bucket.segments * bucket.length for bucket in segments.buckets) <= 1.25 * sum(lengths)


@pytest.mark.parametrize("causal", [False, True])
def test_both_kernels_agree(causal, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, heads, 9, HEAD_DIM, generator=generator) for heads in (HEADS, KV_HEADS, KV_HEADS))
    written = attend(q, k, v, causal)
    monkeypatch.setattr(attention, "WRITTEN_OUT_UP_TO", 0)
    torch.testing.assert_close(written, attend(q, k, v, causal), atol=1e-6, rtol=1e-5)
