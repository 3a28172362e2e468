"""Perceptual hashes: two pictures that look the same differ in few bits, whatever their size, format and quality.

Both tell which low frequencies are above their median (pHash; Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions", section 3.2.1): 64 bits of a 32 x 32 picture, by which candidates are found, and 256
bits of a 64 x 64 one, by which they are confirmed. Pages and charts of one layout differ in few of the 64 bits.

Found again are copies in another size, format, quality or brightness, and grey ones; crops of more than about 2 % of a
side, mirrored and turned copies are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

PLAIN = 3.0
"""Standard deviation of grey values (0-255) below which a picture has too little in it to be told from another."""

FAINT = 250.0
"""How far above the median one of the 256 frequencies must be. Noise of 8 grey levels has as much in each of them: in
smooth pictures, most of whose frequencies are nearly 0, other signs would be those of the compression."""


class PictureHash(NamedTuple):
    """``coarse``: an unsigned 64-bit number; ``fine``: four of them."""

    coarse: int
    fine: tuple[int, int, int, int]


def _cosines(size: int, count: int) -> np.ndarray:
    """Rows 1 to ``count`` of the type II cosine transform of ``size`` values; the constant row 0 is left out."""
    frequency_K, place_N = np.arange(1, count + 1)[:, None], np.arange(size)[None]
    return np.cos(np.pi * frequency_K * (2 * place_N + 1) / (2 * size))


_DCT_8x32 = _cosines(32, 8)
_DCT_16x64 = _cosines(64, 16)


def picture_hash(image: Image.Image) -> PictureHash | None:
    """The hashes of a picture, None for one that is (nearly) of one colour: it would match every other such picture."""
    grey = image.convert("L")
    small_64x64 = np.asarray(grey.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=3.0), np.float64)
    if small_64x64.std() < PLAIN:
        return None
    small_32x32 = small_64x64.reshape(32, 2, 32, 2).mean((1, 3))
    coarse = _signs(_DCT_8x32 @ small_32x32 @ _DCT_8x32.T)
    fine = _signs(_DCT_16x64 @ small_64x64 @ _DCT_16x64.T, FAINT)
    return PictureHash(coarse[0], (fine[0], fine[1], fine[2], fine[3]))


def _signs(low_KK: np.ndarray, above: float = 0.0) -> list[int]:
    """Whether each is this far above the median, as unsigned 64-bit numbers, row by row."""
    return np.packbits((low_KK > np.median(low_KK) + above).ravel()).view(">u8").tolist()
