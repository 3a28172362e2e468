"""Pixels without a Pillow image in between: those of ``open_picture``, and its refusals, for every kind of JPEG."""

import io

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import ExifTags, Image

from mm15.base.errors import PictureError
from mm15.images.pixels import PixelBudget, open_picture
from mm15.images.tensors import open_pixels

WIDTH, HEIGHT = 77, 45
NOISE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
# Coarse colours under fine noise: every kind of subsampling has something to lose.
PICTURE = Image.blend(
    Image.fromarray(NOISE[:5, :7]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), Image.fromarray(NOISE), 0.3
)

KINDS = {
    "444": {"subsampling": "4:4:4"},
    "422": {"subsampling": "4:2:2"},
    "420": {"subsampling": "4:2:0"},
    "poor": {"quality": 5},
    "fine": {"quality": 100, "optimize": True},
    "progressive": {"progressive": True},
    "rgb": {"keep_rgb": True},
    "restarts": {"restart_marker_blocks": 2},
}


def jpeg(image: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def same(data: bytes) -> bool:
    pixels = open_pixels(data)
    wanted = np.asarray(open_picture(data))
    assert pixels.dtype == torch.uint8 and pixels.permute(1, 2, 0).is_contiguous()
    return pixels.shape == (3, *wanted.shape[:2]) and bool((pixels.permute(1, 2, 0).numpy() == wanted).all())


@pytest.fixture
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only headers: pixels by Pillow are an error."""

    def decoded(*_: object) -> None:
        raise AssertionError("Pillow decoded pixels")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)


@pytest.mark.parametrize("kind", KINDS)
def test_jpegs_have_pillows_pixels(kind: str):
    assert same(jpeg(PICTURE, **KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_pillow")
def test_jpegs_of_colours_are_not_decoded_by_pillow(kind: str):
    assert open_pixels(jpeg(PICTURE, **KINDS[kind])).shape == (3, HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_upright(orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert same(jpeg(exif=exif))


@pytest.mark.parametrize("mode", ["L", "1", "CMYK"])
def test_jpegs_of_other_modes_go_through_pillow(mode: str):
    assert same(jpeg(PICTURE.convert(mode)))


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "TIFF", "MPO"])
def test_other_formats_go_through_pillow(file_format: str):
    buffer = io.BytesIO()
    PICTURE.save(buffer, file_format)
    assert same(buffer.getvalue())


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_cut_jpegs_end_as_with_pillow(options: dict[str, bool]):
    data = jpeg(PICTURE, **options)
    for length in [*range(0, len(data), 97), len(data) - 3, len(data) - 2, len(data) - 1]:
        try:
            wanted = open_picture(data[:length], "a.jpg").tobytes()
        except PictureError as refusal:
            with pytest.raises(PictureError) as found:
                open_pixels(data[:length], "a.jpg")
            assert str(found.value) == str(refusal)
        else:
            assert open_pixels(data[:length]).permute(1, 2, 0).numpy().tobytes() == wanted
    with pytest.raises(PictureError, match=r"a\.jpg: JPEG cannot be decoded: .*truncated"):
        open_pixels(data[: len(data) // 2], "a.jpg")


def test_damaged_jpegs_end_as_with_pillow():
    data, rng = jpeg(), np.random.default_rng(11)
    decoded = 0
    for _ in range(400):
        damaged = bytearray(data)
        for place in (rng.random(3) ** 2 * len(data)).astype(int):
            damaged[place] = rng.integers(256)
        try:
            wanted = np.asarray(open_picture(bytes(damaged)))
        except PictureError as refusal:
            with pytest.raises(PictureError) as found:
                open_pixels(bytes(damaged))
            assert str(found.value) == str(refusal)
        else:
            decoded += 1
            assert (open_pixels(bytes(damaged)).permute(1, 2, 0).numpy() == wanted).all()
    assert 50 < decoded < 400


@pytest.mark.usefixtures("no_pillow")
def test_the_budget_is_looked_at_before_decoding(monkeypatch: pytest.MonkeyPatch):
    def decoded(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    for budget in (PixelBudget(max_bytes=100), PixelBudget(max_pixels=3464), PixelBudget(max_side=76)):
        with pytest.raises(PictureError, match=r"big\.jpg: "):
            open_pixels(jpeg(), "big.jpg", budget=budget)


def test_readers_that_disagree_on_the_size_leave_it_to_pillow(monkeypatch: pytest.MonkeyPatch):
    def decoded(*_: object) -> None:
        raise AssertionError("pixels of another size were decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda data: (60_000, 60_000, "RGB", "420"))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    assert same(jpeg())


def test_a_jpeg_has_no_second_frame():
    with pytest.raises(PictureError, match="no frame 1"):
        open_pixels(jpeg(), frame=1)
