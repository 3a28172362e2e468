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
"""Of the Feistel network below: four make it like any permutation (Luby & Rackoff, 1988); very few rows need more."""


def permuted(place_N: np.ndarray, count: int, seed: int, *key: object) -> np.ndarray:
    """Where a permutation of ``count`` puts some places, without making the permutation.

    A shuffle of two billion rows would take 16 GB and a minute; a Feistel network over the next power of two, walked on
    until it falls below ``count`` (Black & Rogaway, 2002), needs no memory and only the places that are asked for.

    Args:
        place_N: integers in [0, count).

    Returns:
        int64 [N]; over all places every number below ``count`` comes once.
    """
    bits = max((int(count) - 1).bit_length(), 2)
    shift = np.uint64(bits // 2)
    low, high = (np.uint64((1 << width) - 1) for width in (bits // 2, bits - bits // 2))
    keys = [np.uint64(seed_of(seed, *key, "round", number)) for number in range(ROUNDS)]
    value_N = place_N.astype(np.uint64)
    walking = np.arange(len(value_N))
    while len(walking):
        left, right = value_N[walking] >> shift, value_N[walking] & low
        for number in range(0, ROUNDS, 2):
            left = left ^ (_mixed(right + keys[number]) & high)
            right = right ^ (_mixed(left + keys[number + 1]) & low)
        found = (left << shift) | right
        value_N[walking] = found
        walking = walking[found >= count]
    return value_N.astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """32 bits, each of which depends on every bit of x (the finaliser of SplitMix64 in short, Steele et al., 2014)."""
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return x >> np.uint64(32)


def python_rng(seed: int, *key: object) -> random.Random:
    """A Python generator for this seed and key."""
    return random.Random(seed_of(seed, *key))
