"""Randomness as a function of (seed, purpose, key ...), never of history and never the global generator.

Without torch, which readers of data do without: its generators are in ``base/torch_rng.py``.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np


def seed_of(seed: int, *key: object) -> int:
    """A 63-bit number that depends on the seed and every part of the key, the same on every machine."""
    text = "\x1f".join([str(seed), *map(str, key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def numpy_rng(seed: int, *key: object) -> np.random.Generator:
    """A NumPy generator for this seed and key."""
    return np.random.default_rng(seed_of(seed, *key))


def python_rng(seed: int, *key: object) -> random.Random:
    """A Python generator for this seed and key."""
    return random.Random(seed_of(seed, *key))
