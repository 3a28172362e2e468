"""Perceptual hashes: copies of a picture stay near, other pictures far."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import mm15
from mm15.images.hashes import PictureHash, picture_hash
from mm15.images.pixels import open_picture

PHOTOS = sorted((Path(mm15.__file__).parent / "assets" / "photos").glob("*.jpg"))


def apart(one: PictureHash | None, other: PictureHash | None) -> tuple[int, int]:
    assert one and other
    fine = sum((a ^ b).bit_count() for a, b in zip(one.fine, other.fine, strict=True))
    return (one.coarse ^ other.coarse).bit_count(), fine


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return open_picture(buffer.getvalue())


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [open_picture(path.read_bytes()) for path in PHOTOS]


@pytest.mark.parametrize("change", ["quality", "half", "small", "squeezed", "grey", "bright"])
def test_copies_are_near(photos: list[Image.Image], change: str):
    changed = {
        "quality": lambda image: jpeg(image, 30),
        "half": lambda image: image.resize((image.width // 2, image.height // 2)),
        "small": lambda image: image.resize((96, 72)),
        "squeezed": lambda image: image.resize((224, 160), Image.Resampling.NEAREST),
        "grey": lambda image: image.convert("L").convert("RGB"),
        "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    }[change]
    distances = [apart(picture_hash(photo), picture_hash(changed(photo))) for photo in photos]
    assert sum(coarse <= 6 and fine <= 30 for coarse, fine in distances) >= len(photos) - 1, distances


def test_other_photos_are_far(photos: list[Image.Image]):
    hashes = [picture_hash(photo) for photo in photos]
    pairs = [apart(one, other) for n, one in enumerate(hashes) for other in hashes[:n]]
    assert min(coarse for coarse, _ in pairs) > 8 and min(fine for _, fine in pairs) > 60


def test_a_picture_of_one_colour_has_none():
    assert picture_hash(Image.new("RGB", (90, 60), "orange")) is None
    noise = np.random.default_rng(0).integers(100, 103, (60, 90, 3), dtype=np.uint8)
    assert picture_hash(Image.fromarray(noise)) is None


def test_a_hash_is_the_signs_of_low_frequencies():
    wave = np.cos(np.pi * (2 * np.arange(64) + 1) / 128)  # one cosine of frequency 1
    pixels = (128 + 100 * np.outer(wave, wave)).astype(np.uint8)
    for values, bit in ((pixels, 1), (255 - pixels, 0)):
        found = picture_hash(Image.fromarray(values).convert("RGB"))
        # Frequency (1, 1) is the first bit of both: far above the median, or far below it.
        assert found is not None and found.coarse >> 63 == bit and found.fine[0] >> 63 == bit
