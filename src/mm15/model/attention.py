"""Attention over a flat stream of segments, and over batches of equal length.

Legend: T positions of the stream, S segments of a bucket, L their padded length, H query heads, G key/value heads,
N = H + 2 G heads of the fused projection, D head width, P patches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

WRITTEN_OUT_UP_TO = 512
"""On CPUs, written-out products beat the fused kernel up to about this length (and need L² memory)."""

SCORES_UP_TO = 4 * 2**20
"""Bytes of scores that are written out where no gradient is wanted: beyond, fresh memory costs more than it saves (the
fused kernel was twice as fast at 8 to 19 MB). With gradients scores are kept anyway, and the fused kernel is slower."""

BUCKET_FILL = 0.75
"""A segment shorter than this share of its bucket's longest opens a new bucket."""

ALIGN = 32
"""Bucket lengths are multiples of this: the softmax kernel is up to twice as fast on whole vectors."""


def reads_borders(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a kernel takes the stream with its borders as it is; planning asks of devices that are not there."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)


class Bucket(NamedTuple):
    """Segments padded to one length."""

    segments: int
    length: int


class Segments:
    """Where the segments of a packed stream lie; built once per batch and shared by all layers.

    On CUDA, in half precision, the variable-length kernel reads the borders. Elsewhere segments of similar length are
    regrouped, by one gather of head rows, into padded buckets [S, H, L, D]. Padding repeats a segment's own last row
    and stands behind it, so causal attention never shows it to a real position, and its gradient is exactly zero.
    """

    def __init__(
        self,
        borders: Sequence[int],
        num_heads: int,
        num_kv_heads: int,
        device: torch.device,
        dtype: torch.dtype,
        window: int | None = None,
    ) -> None:
        lengths = [end - start for start, end in itertools.pairwise(borders)]
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.longest = max(lengths)
        self.window = window if window is not None and window < self.longest else None
        self.borders = torch.tensor(borders, dtype=torch.int32, device=device)
        self.buckets: list[Bucket] = []
        self.by_borders = reads_borders(device, dtype)
        if not self.by_borders:
            self._regroup(torch.tensor(borders), lengths, device)

    def _regroup(self, borders: Tensor, lengths: list[int], device: torch.device) -> None:
        order = sorted(range(len(lengths)), key=lambda segment: -lengths[segment])
        num_heads, num_kv_heads = self.num_heads, self.num_kv_heads
        total = num_heads + 2 * num_kv_heads
        head_groups = torch.arange(total).split([num_heads, num_kv_heads, num_kv_heads])
        rows, real, out_rows, out_real = [], [], [], []
        while order:
            longest = lengths[order[0]]
            members = [segment for segment in order if lengths[segment] >= BUCKET_FILL * longest]
            order = order[len(members) :]
            length = math.ceil(longest / ALIGN) * ALIGN
            self.buckets.append(Bucket(len(members), length))
            starts_S1, ends_S1 = borders[members, None], borders[1:][members, None]
            token_SL = starts_S1 + torch.arange(length)
            real_S1L = (token_SL < ends_S1)[:, None]
            token_S1L = token_SL.minimum(ends_S1 - 1)[:, None]
            for heads in head_groups:
                row_SHL = token_S1L * total + heads[:, None]
                rows.append(row_SHL.flatten())
                real.append(real_S1L.expand_as(row_SHL).flatten())
            out_SHL = token_S1L * num_heads + head_groups[0][:, None]
            out_rows.append(out_SHL.flatten())
            out_real.append(real_S1L.expand_as(out_SHL).flatten())
        # Two pairs of mutually inverse row maps: fused rows of the stream ↔ bucket slots, bucket outputs ↔ stream.
        into, into_back = _inverse_pair(torch.cat(rows), torch.cat(real))
        out_back, out = _inverse_pair(torch.cat(out_rows), torch.cat(out_real))
        # Padding slots receive the zero row that stands behind the last row.
        out_back = torch.where(torch.cat(out_real), out_back, out.numel())
        self.into, self.into_back, self.out, self.out_back = (x.to(device) for x in (into, into_back, out, out_back))


def _inverse_pair(row_of_slot: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
    slots = is_real.nonzero().flatten()
    slot_of_row = torch.empty_like(slots)
    slot_of_row[row_of_slot[slots]] = slots
    return row_of_slot, slot_of_row


class _Into(torch.autograd.Function):
    """Rows into bucket slots. The gradient of a row is that of its one real slot: padding has none to give."""

    @staticmethod
    def forward(ctx: Any, x_RD: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return x_RD.index_select(0, segments.into)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(0, ctx.segments.into_back), None


class _OutOf(torch.autograd.Function):
    """Bucket outputs back to stream order; padding slots get a zero gradient."""

    @staticmethod
    def forward(ctx: Any, x_RD: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return x_RD.index_select(0, segments.out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return F.pad(grads[0], (0, 0, 0, 1)).index_select(0, ctx.segments.out_back), None


def causal_attention(qkv_TND: Tensor, segments: Segments) -> Tensor:
    """Causal grouped-query attention inside every segment of a stream; with a window, a position sees itself and the
    ``window - 1`` positions before it.

    Args:
        qkv_TND: query heads, then key heads, then value heads.
        segments: of the same stream.

    Returns:
        [T, H, D].
    """
    num_heads, num_kv_heads = segments.num_heads, segments.num_kv_heads
    head_dim = qkv_TND.shape[-1]
    if segments.by_borders:
        q_THD, k_TGD, v_TGD = qkv_TND.split([num_heads, num_kv_heads, num_kv_heads], dim=1)
        out = varlen_attn(
            q_THD,
            k_TGD,
            v_TGD,
            segments.borders,
            segments.borders,
            segments.longest,
            segments.longest,
            window_size=(-1 if segments.window is None else segments.window - 1, 0),
            enable_gqa=num_heads != num_kv_heads,
        )
        assert isinstance(out, Tensor)
        return out
    rows_RD = _Into.apply(qkv_TND.reshape(-1, head_dim), segments)
    outs, start = [], 0
    for num_segments, length in segments.buckets:
        blocks = []
        for heads in (num_heads, num_kv_heads, num_kv_heads):
            end = start + num_segments * heads * length
            blocks.append(rows_RD[start:end].view(num_segments, heads, length, head_dim))
            start = end
        outs.append(attend(*blocks, causal=True, window=segments.window).reshape(-1, head_dim))
    return _OutOf.apply(torch.cat(outs), segments).view(-1, num_heads, head_dim)


def attend(q_SHLD: Tensor, k_SGLD: Tensor, v_SGLD: Tensor, causal: bool = False, window: int | None = None) -> Tensor:
    """Softmax attention of equal-length rows, [S, H, L, D]; H is a multiple of G; ``window``: of causal rows."""
    num_segments, num_heads, length, head_dim = q_SHLD.shape
    num_kv_heads, num_keys = k_SGLD.shape[1], k_SGLD.shape[2]
    scores = num_segments * num_heads * length * num_keys * q_SHLD.element_size()
    is_much = scores > SCORES_UP_TO and not torch.is_grad_enabled()
    if q_SHLD.is_cuda or max(length, num_keys) > WRITTEN_OUT_UP_TO or is_much:
        seen = None
        if window is not None:
            seen = torch.ones(length, num_keys, dtype=torch.bool, device=q_SHLD.device).tril().triu(1 - window)
        return F.scaled_dot_product_attention(
            q_SHLD,
            k_SGLD,
            v_SGLD,
            attn_mask=seen,
            is_causal=causal and seen is None,
            enable_gqa=num_heads != num_kv_heads,
        )
    # The heads of a group share their keys: they become more query rows of one product.
    rows = num_heads // num_kv_heads * length
    q = q_SHLD.reshape(num_segments * num_kv_heads, rows, head_dim)
    k, v = (x.reshape(num_segments * num_kv_heads, num_keys, head_dim) for x in (k_SGLD, v_SGLD))
    mask = q.new_zeros(1)
    if causal:
        mask = q.new_full((length, length), -math.inf).triu(1)
        if window is not None:
            mask += q.new_full((length, length), -math.inf).tril(-window)
        mask = mask.repeat(rows // length, 1)
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), beta=int(causal), alpha=head_dim**-0.5)
    out = torch.bmm(scores.softmax(-1), v)
    return out.view(num_segments, num_heads, length, head_dim)
