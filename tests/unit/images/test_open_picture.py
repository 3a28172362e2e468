"""Opening pictures: every odd but valid file opens right, every bad one is refused by name."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from mm15.base.errors import PictureError
from mm15.images.pixels import PixelBudget, open_picture, picture_size
from mm15.images.tensors import Memory, resize, to_tensor

WIDTH, HEIGHT = 37, 23
PIXELS = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def opened(data, **options):
    """The pixels, after a look that the header promised their size."""
    image = open_picture(data, **options)
    assert image.mode == "RGB"
    assert picture_size(data, **options) == image.size
    return np.array(image)


def png(width, height, bit_depth=8, color_type=2, rows=b""):
    """A PNG written by hand: headers that Pillow would not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels_back(file_format):
    assert (opened(encode(PICTURE, file_format)) == PIXELS).all()


@pytest.mark.parametrize("file_format, options", [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {})])
def test_lossy_formats_come_close(file_format, options):
    smooth = PICTURE.resize((4, 3)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    difference = opened(encode(smooth, file_format, quality=95, **options)).astype(int) - np.asarray(smooth)
    assert np.abs(difference).mean() < 4


def test_grey_and_bilevel_become_rgb():
    grey = PICTURE.convert("L")
    assert (opened(encode(grey, "PNG")) == np.asarray(grey)[..., None]).all()
    assert set(np.unique(opened(encode(grey.convert("1"), "PNG")))) == {0, 255}


def test_cmyk_jpeg_is_not_inverted():
    plain = Image.new("RGB", (WIDTH, HEIGHT), (200, 40, 60))
    found = opened(encode(plain.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(found.astype(int) - (200, 40, 60)).max() < 8


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_high_byte(file_format):
    deep = (np.arange(HEIGHT * WIDTH, dtype=np.uint16) * 76).reshape(HEIGHT, WIDTH)
    assert deep.max() > 64_000
    assert (opened(encode(Image.fromarray(deep), file_format)) == (deep >> 8)[..., None]).all()


def test_sixteen_bit_rgb_keeps_its_high_byte():
    values = np.array([[[0x0102, 0x80FF, 0xFF00], [0xFFFF, 0x0000, 0x1234]]], dtype=">u2")
    found = opened(png(2, 1, bit_depth=16, rows=b"\0" + values.tobytes()))
    assert found.tolist() == [[[0x01, 0x80, 0xFF], [0xFF, 0x00, 0x12]]]


def test_pixels_without_a_known_range_are_refused():
    with pytest.raises(PictureError, match="floating-point"):
        open_picture(encode(PICTURE.convert("F"), "TIFF"))
    wide = Image.fromarray(np.array([[0, 70_000]], dtype=np.int32))
    with pytest.raises(PictureError, match="32-bit"):
        open_picture(encode(wide, "TIFF"))


def test_transparency_lies_on_white():
    image = Image.new("RGBA", (WIDTH, HEIGHT), (10, 20, 30, 255))
    image.putpixel((3, 2), (10, 20, 30, 0))
    image.putpixel((4, 2), (0, 0, 0, 51))
    found = opened(encode(image, "PNG"))
    assert found[2, 3].tolist() == [255, 255, 255]
    assert found[2, 4].tolist() == [204, 204, 204]
    assert found[0, 0].tolist() == [10, 20, 30]


def test_a_transparent_palette_entry_lies_on_white():
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((5, 1), 1)
    found = opened(encode(image, "PNG", transparency=1))
    assert found[1, 5].tolist() == [255, 255, 255]
    assert found[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_frame_that_is_asked_for(file_format):
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in colors]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    for number, color in enumerate(colors):
        assert np.abs(opened(data, frame=number)[5, 7].astype(int) - color).max() < 8
    with pytest.raises(PictureError, match=r"clip: .*no frame 3"):
        open_picture(data, "clip", frame=3)


def test_pages_of_different_sizes():
    data = encode(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (11, 50))])
    assert picture_size(data, frame=1) == open_picture(data, frame=1).size == (11, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(file_format, orientation):
    upright = Image.new("RGB", (40, 24), "white")
    upright.paste((0, 0, 0), (0, 0, 20, 12))  # Only the upper left quarter is black.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = opened(encode(stored, file_format, exif=exif))
    assert found.shape == (24, 40, 3)
    assert found[4, 6].max() < 30
    assert min(found[4, 34].min(), found[20, 6].min(), found[20, 34].min()) > 225


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture():
    data = encode(PICTURE, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert (opened(data) == PIXELS).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_extreme_shapes_open(size):
    assert open_picture(encode(Image.new("RGB", size), "PNG")).size == size


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.filterwarnings("ignore")  # Pillow warns about cut TIFF directories.
def test_truncated_files_are_refused_or_whole(file_format):
    data = encode(PICTURE, file_format)
    whole = open_picture(data).tobytes()
    for length in range(0, len(data), 7):
        try:
            found = open_picture(data[:length], "page.img")
        except PictureError as error:
            assert str(error).startswith("page.img: ")
        else:
            assert found.tobytes() == whole and length > len(data) - 30


def test_half_a_file_is_refused():
    data = encode(PICTURE, "JPEG")
    with pytest.raises(PictureError, match=r"a\.jpg: JPEG cannot be decoded: .*truncated"):
        open_picture(data[: len(data) // 2], "a.jpg")


@pytest.mark.parametrize(
    "data",
    [b"<html>404</html>", b"%PDF-1.7", encode(PICTURE.convert("P"), "PCX"), encode(PICTURE, "ICO"), b"\0" * 50],
)
def test_formats_outside_the_list_are_refused(data):
    with pytest.raises(PictureError, match=r"x\.jpg: not a readable JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM file"):
        open_picture(data, "x.jpg")


def test_nothing_is_refused():
    with pytest.raises(PictureError, match="0 bytes"):
        open_picture(b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(8001, 8000), (13_000, 13_001), (60_000, 50_000)])
@pytest.mark.parametrize("read", [open_picture, picture_size])
def test_bombs_are_refused_by_their_header(size, read, monkeypatch):
    def decoded(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(PictureError, match=r"big\.png: "):
        read(png(*size), "big.png")


def test_the_budget_counts_bytes_pixels_and_sides():
    data = encode(PICTURE, "PNG")
    for budget, reason in [
        (PixelBudget(max_bytes=100), "the 100 allowed"),
        (PixelBudget(max_pixels=WIDTH * HEIGHT - 1), "37 x 23 px is more than the 850 pixels"),
        (PixelBudget(max_side=WIDTH - 1), "a side over the 36 px"),
    ]:
        with pytest.raises(PictureError, match=reason):
            open_picture(data, budget=budget)
    just_enough = PixelBudget(max_pixels=WIDTH * HEIGHT, max_bytes=len(data), max_side=WIDTH)
    assert open_picture(data, budget=just_enough).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_end_in_a_picture_or_a_picture_error(file_format):
    data = encode(PICTURE, file_format)
    rng = np.random.default_rng(5)
    for _ in range(150):
        damaged = bytearray(data)
        for place in (rng.random(3) ** 2 * len(data)).astype(int):
            damaged[place] = rng.integers(256)
        try:
            found = open_picture(bytes(damaged))
        except PictureError:
            continue
        assert picture_size(bytes(damaged)) == found.size


def test_resize_averages_before_it_samples():
    stripes = np.zeros((24, 240, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    for width in (80, 12):
        found = resize(to_tensor(Image.fromarray(stripes)), width, 8)
        assert found.shape == (3, 8, width) and found.dtype == torch.uint8
        assert (found[..., 2:-2].int() - 128).abs().max() < 20


@pytest.mark.parametrize("size", [(30, 19), (97, 61), (194, 122), (300, 189), (1, 1)])
def test_resize_is_pillows_bicubic_to_within_two_steps(size: tuple[int, int]):
    # Noise is the hardest picture; aspects are kept, as splitting keeps them.
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 97, 3), dtype=np.uint8))
    wanted = np.asarray(noise.resize(size, Image.Resampling.BICUBIC)).astype(int)
    found = resize(to_tensor(noise), *size).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - wanted).max() <= 2


@pytest.mark.parametrize("size", [(61, 97), (1, 97), (61, 1), (1, 2), (2, 1), (1, 1), (3, 5)])
def test_resize_into_memory_is_the_same_resize(size: tuple[int, int]):
    memory, noise = Memory(), torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    for pixels in (noise.permute(2, 0, 1), noise.permute(2, 0, 1).contiguous(), noise.permute(2, 1, 0)):
        for width, height in [(30, 19), (194, 122), (300, 1), (1, 189), (1, 1), (97, 60), (60, 61), (3, 2), (2, 1)]:
            found = resize(pixels, width, height, memory)
            assert found.shape == (3, height, width)
            assert (found == resize(pixels, width, height)).all()


def test_threads_have_their_own_memory():
    memory = Memory()
    mine = memory.picture(20, 30).fill_(7)
    assert memory.picture(5, 4).data_ptr() == mine.data_ptr()
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: memory.picture(20, 30).fill_(9)).result()
    assert theirs.data_ptr() != mine.data_ptr() and (mine == 7).all()
    assert memory.picture(60, 50).shape == (1, 3, 60, 50) and len(memory.bytes_N) == 9000


def test_a_picture_becomes_planes_of_colour():
    planes = to_tensor(PICTURE)
    assert planes.dtype == torch.uint8 and planes.shape == (3, HEIGHT, WIDTH)
    assert tuple(planes[:, 2, 5].tolist()) == PICTURE.getpixel((5, 2))
    with pytest.raises(ValueError, match="expected an RGB image, found mode L"):
        to_tensor(PICTURE.convert("L"))
