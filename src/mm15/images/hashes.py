"""Perceptual hashes: two pictures that look the same differ in few bits, whatever their size, format and quality.

Two hashes of different kinds, because each alone is fooled by some pictures (charts, pages of text):

    pHash   64 bits: signs of the low frequencies of a 32 x 32 picture against their median
            (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1)
    dHash  256 bits: whether each of 16 x 16 pixels is brighter than its right neighbour
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

PLAIN = 3.0
"""Standard deviation of grey values (0-255) below which a picture has too little in it to be told from another."""


class PictureHash(NamedTuple):
    """``p``: one, ``d``: four unsigned 64-bit numbers."""

    p: int
    d: tuple[int, int, int, int]


def _cosines(size: int, count: int) -> np.ndarray:
    """Rows 1 to ``count`` of the type II cosine transform of ``size`` values; the constant row 0 is left out."""
    frequency_K, place_N = np.arange(1, count + 1)[:, None], np.arange(size)[None]
    return np.cos(np.pi * frequency_K * (2 * place_N + 1) / (2 * size))


_DCT_8x32 = _cosines(32, 8)


def picture_hash(image: Image.Image) -> PictureHash | None:
    """The hashes of a picture, None for one that is (nearly) of one colour: it would match every other such picture."""
    grey = image.convert("L")
    small_32x32 = np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=3.0), np.float64)
    if small_32x32.std() < PLAIN:
        return None
    low_8x8 = _DCT_8x32 @ small_32x32 @ _DCT_8x32.T
    p = _packed(low_8x8 > np.median(low_8x8))
    wide_16x17 = np.asarray(grey.resize((17, 16), Image.Resampling.BILINEAR, reducing_gap=3.0), np.int16)
    d = _packed(wide_16x17[:, 1:] > wide_16x17[:, :-1])
    return PictureHash(p[0], (d[0], d[1], d[2], d[3]))


def _packed(bits: np.ndarray) -> list[int]:
    return np.packbits(bits.ravel()).view(">u8").tolist()
