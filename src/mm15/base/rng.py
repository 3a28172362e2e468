"""Randomness as a function of (seed, purpose, key ...), never of history and never the global generator.

Without torch, which readers of data do without: its generators are in ``base/torch_rng.py``.

Legend: N places.
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


ROUNDS = 6
"""Of the Feistel network below; four make it a permutation like any other (Luby & Rackoff, 1988)."""


def permuted(place_N: np.ndarray, count: int, seed: int, *key: object) -> np.ndarray:
    """Where a permutation of ``count`` puts some places, without making the permutation.

    A shuffle of two billion rows would take 16 GB and a minute; a Feistel network over the next power of four, walked
    on until it falls below ``count`` (Black & Rogaway, 2002), needs no memory and only the places that are asked for.

    Args:
        place_N: integers in [0, count).

    Returns:
        int64 [N]; over all places every number below ``count`` comes once.
    """
    half = max((int(count) - 1).bit_length() + 1, 2) // 2
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    keys = [np.uint64(seed_of(seed, *key, "round", number)) for number in range(ROUNDS)]
    value_N = place_N.astype(np.uint64)
    walking = np.arange(len(value_N))
    while len(walking):
        left, right = value_N[walking] >> shift, value_N[walking] & mask
        for round_key in keys:
            left, right = right, left ^ (_mixed(right + round_key) & mask)
        value_N[walking] = (left << shift) | right
        walking = walking[value_N[walking] >= count]
    return value_N.astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al., 2014): every bit of the outcome depends on every bit of x."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def python_rng(seed: int, *key: object) -> random.Random:
    """A Python generator for this seed and key."""
    return random.Random(seed_of(seed, *key))
