"""Frequencies of rotary positions: plain, and stretched for longer contexts.

The stretched kinds are those that open language models are saved with: ``linear`` (position interpolation, arXiv
2306.15595), ``llama3`` (Llama 3.1's model card) and ``yarn`` (arXiv 2309.00071). Legend: D head width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mm15.model.sizes import DecoderConfig, RopeScaling


def rope_frequencies(config: DecoderConfig, device: torch.device) -> tuple[Tensor, float]:
    """Radians per position of every pair of components, fp32 [D / 2], and the factor of cos and sin."""
    steps = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32)
    plain = config.rope_theta ** (-steps / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return plain, 1.0
    if scaling.kind == "linear":
        return plain / scaling.factor, 1.0
    if scaling.kind == "llama3":
        return _llama3(plain, scaling), 1.0
    return _yarn(plain, scaling, config.head_dim, config.rope_theta), scaling.attention_factor


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Long waves are stretched, short ones are kept, those between change from one to the other."""
    waves = scaling.original_positions * plain / (2 * math.pi)  # turns within the original context
    span = scaling.high_freq_factor - scaling.low_freq_factor
    kept = ((waves - scaling.low_freq_factor) / span).clamp(0, 1)
    return plain * (kept + (1 - kept) / scaling.factor)


def _yarn(plain: Tensor, scaling: RopeScaling, head_dim: int, theta: float) -> Tensor:
    """As llama3, but the change is linear in the component's number instead of its number of turns."""

    def component(turns: float) -> float:
        return head_dim * math.log(scaling.original_positions / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = component(scaling.beta_fast), component(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low or 0.001
    stretched = ((torch.arange(len(plain), device=plain.device, dtype=torch.float32) - low) / width).clamp(0, 1)
    return plain * (1 - stretched + stretched / scaling.factor)
