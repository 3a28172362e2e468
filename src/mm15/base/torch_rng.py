"""Torch generators as a function of (seed, purpose, key ...). Apart from ``rng``, which must not import torch."""

from __future__ import annotations

import torch

from mm15.base.rng import seed_of


def torch_rng(seed: int, *key: object, device: str = "cpu") -> torch.Generator:
    """A torch generator for this seed and key."""
    generator = torch.Generator(device=device)
    generator.manual_seed(seed_of(seed, *key))
    return generator
