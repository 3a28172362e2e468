"""Causal decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Legend: T positions of a packed stream, D width or head width, V vocabulary, R rows kept at the end, H query heads,
G key/value heads, N = H + 2 G.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.attention import Segments, causal_attention
from mm15.model.layers import Linear, RMSNorm, Rotation, Table, roll_half
from mm15.model.moe import MoE, Routings
from mm15.model.rope import rope_frequencies
from mm15.model.sizes import DecoderConfig


class Pass(Protocol):
    """What all layers share about one pass: over a packed stream (``Stream``), or over new positions of sequences whose
    past is cached (``cached.Step``, ``static.StaticStep``)."""

    rotation: Rotation
    routing: Routings | None

    def attend(self, layer: int, qkv_TND: Tensor) -> Tensor:
        """[T, N, D] → [T, H, D]."""
        ...


class Stream:
    """A pass over a packed stream: rotations and segments."""

    def __init__(
        self, config: DecoderConfig, positions_T: Tensor, borders: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        device = positions_T.device
        self.rotation = Rotation(positions_T, rope_frequencies(config, device), dtype)
        self.segments = Segments(borders, config.heads, config.kv_heads, device, dtype, config.window)
        self.routing: Routings | None = Routings()

    def attend(self, layer: int, qkv_TND: Tensor) -> Tensor:
        """[T, N, D] → [T, H, D]."""
        return causal_attention(qkv_TND, self.segments)


class QueryKeyValue(Linear):
    """The fused projection. Each key head starts as its group's first query head, its input channels rolled by half.

    That query head so begins by looking for what a token is aligned with (``roll_half``), where an encoder was trained
    to be like the decoder's words: a word finds its picture before anything is learned. Trained transformers show such
    structure in WqᵀWk, and small ones learn faster from it (Trockman & Kolter, arXiv 2305.09828). Without the roll a
    word would find itself first, and never look further.
    """

    def __init__(self, inputs: int, parts: Sequence[int], head_dim: int, bias: bool) -> None:
        super().__init__(inputs, parts, bias)
        self.head_dim = head_dim

    def start(self, generator: torch.Generator) -> None:
        super().start(generator)
        query, key, _ = (part.unflatten(0, (-1, self.head_dim)) for part in self.weight.split(self.parts))
        key.copy_(roll_half(query[:: len(query) // len(key)]))


class Attention(nn.Module):
    """Fused projection, optional RMS norm of queries and keys (of each head, or of all heads as one row), rotation,
    attention, output projection."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        heads, kv_heads, head_dim = config.heads, config.kv_heads, config.head_dim
        self.head_dim = head_dim
        self.heads, self.kv_heads = heads, kv_heads
        parts = (heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
        self.qkv = QueryKeyValue(config.width, parts, head_dim, bias=config.qkv_bias)
        self.norm_all = config.qk_norm_over == "all"
        widths = (heads * head_dim, kv_heads * head_dim) if self.norm_all else (head_dim, head_dim)
        self.q_norm, self.k_norm = (RMSNorm(width, config.norm_eps) if config.qk_norm else None for width in widths)
        self.out = Linear(heads * head_dim, config.width, bias=config.out_bias, gain=(2 * config.layers) ** -0.5)

    def forward(self, x_TD: Tensor, layer: int, stream: Pass) -> Tensor:
        qkv_TND = self.qkv(x_TD).unflatten(-1, (-1, self.head_dim))
        qk_TND, v_TGD = qkv_TND.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q_THD, k_TGD = qk_TND.split([self.heads, self.kv_heads], dim=1)
            if self.norm_all:
                q_THD = self.q_norm(q_THD.flatten(1)).unflatten(-1, (-1, self.head_dim))
                k_TGD = self.k_norm(k_TGD.flatten(1)).unflatten(-1, (-1, self.head_dim))
                qk_TND = torch.cat([q_THD, k_TGD], dim=1)
            else:
                qk_TND = torch.cat([self.q_norm(q_THD), self.k_norm(k_TGD)], dim=1)
        qkv_TND = torch.cat([stream.rotation(qk_TND), v_TGD], dim=1)
        return self.out(stream.attend(layer, qkv_TND).flatten(1))


class SwiGLU(nn.Module):
    """down(SiLU(gate x) · up x)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.width, (config.mlp_width, config.mlp_width), bias=config.mlp_bias)
        self.down = Linear(config.mlp_width, config.width, bias=config.mlp_bias, gain=(2 * config.layers) ** -0.5)

    def forward(self, x_TD: Tensor) -> Tensor:
        gate, up = self.gate_up(x_TD).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Attention and SwiGLU (or experts) with residuals; each is normed before it, or behind it (``norm_order``)."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.norm_after = config.norm_order == "after"
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        has_experts = config.moe is not None and config.moe.in_layer(layer)
        self.mlp = MoE(config, layer) if has_experts else SwiGLU(config)

    def forward(self, x_TD: Tensor, layer: int, stream: Pass, keep_R: Tensor | None = None) -> Tensor:
        """``keep_R``: after attention only these rows go on; the others are read by nothing behind the last block."""
        if self.norm_after:
            x_TD = x_TD + self.attention_norm(self.attention(x_TD, layer, stream))
        else:
            x_TD = x_TD + self.attention(self.attention_norm(x_TD), layer, stream)
        if keep_R is not None:
            x_TD = x_TD.index_select(0, keep_R)
        into_TD = x_TD if self.norm_after else self.mlp_norm(x_TD)
        out_TD = self.mlp(into_TD, stream.routing) if isinstance(self.mlp, MoE) else self.mlp(into_TD)
        return x_TD + (self.mlp_norm(out_TD) if self.norm_after else out_TD)


class Decoder(nn.Module):
    """Embedding, blocks, final norm, head."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Table(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.final_norm = RMSNorm(config.width, config.norm_eps)
        self.untied_head = None if config.tied_head else Linear(config.width, config.vocab_size, bias=False)

    def embed(self, tokens_T: Tensor, dtype: torch.dtype) -> Tensor:
        """Word embeddings [T, D]."""
        return F.embedding(tokens_T, self.embedding.weight).to(dtype)

    def forward(self, x_TD: Tensor, stream: Pass, keep_R: Tensor | None = None) -> Tensor:
        """Hidden states behind the final norm: [T, D], or [R, D] of the rows ``keep_R`` alone."""
        for layer, block in enumerate(self.blocks):
            is_last = layer == len(self.blocks) - 1
            x_TD = block(x_TD, layer, stream, keep_R if is_last else None)
        return self.final_norm(x_TD)

    def head(self, hidden_RD: Tensor) -> Tensor:
        """Logits [R, V] in the dtype of the hidden states."""
        if self.untied_head is not None:
            return self.untied_head(hidden_RD)
        return F.linear(hidden_RD, self.embedding.weight.to(hidden_RD.dtype))
