"""Opening pictures safely. Without torch, which readers of data do without.

Everything a header can tell (format, sides, number of pixels) is checked before a pixel is decoded. Pillow says what a
file is and what is wrong with it; for plain JPEGs, the bulk of all pictures, ``open_array`` has the same pixels
decoded by simplejpeg, which does not hold the interpreter.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from mm15.base.errors import PictureError
from mm15.images.pdf import draw_page, page_size, page_sizes

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The only decoders that are ever tried, whatever the bytes look like."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what brings the picture upright."""

_SIDEWAYS, _LEFT_RIGHT, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""The same in steps: exchange the axes, then mirror across, then mirror down."""

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's decoders raise on damaged bytes; they promise no common type."""


@dataclass(frozen=True)
class PixelBudget:
    """The largest picture that is opened: pixels, encoded bytes, longest side in px."""

    max_pixels: int = 64_000_000
    max_bytes: int = 64 << 20
    max_side: int = 30_000


BUDGET = PixelBudget()


def open_picture(
    data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET, dpi: int = 0
) -> Image.Image:
    """Decode a picture to upright 8-bit RGB.

    CMYK and palettes are converted, 16-bit channels keep their high byte, transparency lies on white.

    Args:
        data: the encoded file.
        name: what errors call it.
        frame: which frame of an animation or page of a TIFF or PDF, from 0.
        budget: what is refused before decoding.
        dpi: above 0 the bytes are a PDF, whose page is drawn with so many pixels to the inch. Only where the caller
            says so: bytes alone never choose that decoder.

    Raises:
        PictureError: empty, not one of ``FORMATS``, over the budget, truncated or damaged, no such frame, or of pixels
            without a known range (floating point, 32-bit integers beyond 16 bits).
        MissingExtra: a PDF, and pypdfium2 is not installed.
    """
    if dpi > 0:
        _page_size(data, name, frame, budget, dpi)
        return draw_page(data, frame, dpi, name)
    return _decode(_open_header(data, name, frame, budget), name)


def open_array(
    data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET, dpi: int = 0
) -> np.ndarray:
    """The pixels of ``open_picture``, with the same errors, in about half the time for a JPEG.

    Returns:
        uint8 [H, W, 3].
    """
    if dpi > 0:
        return np.array(open_picture(data, name, frame, budget, dpi))
    image = _open_header(data, name, frame, budget)
    pixels_HWC = _decode_jpeg(data, image)
    return np.array(_decode(image, name)) if pixels_HWC is None else pixels_HWC


def picture_size(
    data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET, dpi: int = 0
) -> tuple[int, int]:
    """(width, height) of what ``open_picture`` returns, from the header alone.

    Raises:
        PictureError: empty, not one of ``FORMATS``, over the budget, no such frame.
        MissingExtra: a PDF, and pypdfium2 is not installed.
    """
    if dpi > 0:
        return _page_size(data, name, frame, budget, dpi)
    image = _open_header(data, name, frame, budget)
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def frame_sizes(
    data: bytes, name: str = "picture", budget: PixelBudget = BUDGET, dpi: int = 0
) -> list[tuple[int, int]]:
    """(width, height) of every frame or page as ``open_picture`` returns it; (0, 0) where it would refuse the size.

    Raises:
        PictureError: empty, not one of ``FORMATS`` or, with ``dpi``, not a readable PDF; too many bytes.
        MissingExtra: a PDF, and pypdfium2 is not installed.
    """
    if dpi > 0:
        _check_bytes(data, name, budget)
        return [size if _fits(*size, budget) else (0, 0) for size in page_sizes(data, dpi, name)]
    image = _open_header(data, name, 0, budget)
    sizes: list[tuple[int, int]] = []
    try:
        while True:
            image.seek(len(sizes))
            width, height = image.size[::-1] if _orientation(image) in _SIDEWAYS else image.size
            sizes.append((width, height) if _fits(width, height, budget) else (0, 0))
    except EOFError:
        return sizes
    except BROKEN:
        return [*sizes, (0, 0)]


def picture_layout(
    data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET
) -> tuple[int, int, int]:
    """(width, height, EXIF orientation 1-8) of the pixels as they are stored, from the header alone.

    Annotations made on the stored pixels are turned with ``orient_box`` to lie on what ``open_picture`` returns.

    Raises:
        PictureError: empty, not one of ``FORMATS``, over the budget, no such frame.
    """
    image = _open_header(data, name, frame, budget)
    width, height = image.size
    if image.format == "TIFF":
        orientation = _tag(image)
        # Pillow already gives the size of the picture it will have turned.
        return (height, width, orientation) if orientation in _SIDEWAYS else (width, height, orientation)
    return width, height, _orientation(image)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What a header says of a picture: kind of file, sides in px when upright, and what ``open_picture`` will change.

    ``depth`` is bits per channel; ``several`` says that there are frames after the first.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    depth: int
    transparent: bool
    several: bool


def picture_header(data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET) -> PictureHeader:
    """The header of a picture that is no PDF.

    Raises:
        PictureError: empty, not one of ``FORMATS``, over the budget, no such frame.
    """
    image = _open_header(data, name, frame, budget)
    orientation = _tag(image) if image.format == "TIFF" else _orientation(image)
    width, height = image.size[::-1] if _orientation(image) in _SIDEWAYS else image.size
    packed = "".join(str(tile.args) for tile in getattr(image, "tile", ()))
    depth = 16 if "16" in packed or image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8
    try:
        several = frame == 0 and bool(getattr(image, "is_animated", False))
    except BROKEN:
        several = False
    transparent = image.has_transparency_data
    return PictureHeader(str(image.format), image.mode, width, height, orientation, depth, transparent, several)


def orient_box(
    box_xyxy: tuple[float, float, float, float], orientation: int, width: float, height: float
) -> tuple[float, float, float, float]:
    """A box on the stored pixels of a picture (``width`` x ``height``, EXIF ``orientation``) → on the upright picture.

    Orientations are those of EXIF 2.3, tag 0x0112; 1 and numbers that the standard does not know change nothing.
    """
    x1, y1, x2, y2 = box_xyxy
    if orientation in _SIDEWAYS:
        x1, y1, x2, y2 = y1, x1, y2, x2
        width, height = height, width
    if orientation in _LEFT_RIGHT:
        x1, x2 = width - x2, width - x1
    if orientation in _UPSIDE_DOWN:
        y1, y2 = height - y2, height - y1
    return x1, y1, x2, y2


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Upright 8-bit RGB from an opened header."""
    orientation = _orientation(image)
    try:
        image.load()
        upright = to_rgb(image, name)
    except BROKEN as error:
        raise PictureError(f"{image.format} cannot be decoded: {error}", name) from error
    return upright.transpose(_TURNS[orientation]) if orientation in _TURNS else upright


def _decode_jpeg(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Upright pixels [H, W, 3] of a JPEG of colours, or None where Pillow shall judge: other kinds, any doubt."""
    if image.format != "JPEG" or image.mode != "RGB":
        return None
    try:
        # The size that was checked is the one Pillow found; two readers may disagree on a damaged file.
        if simplejpeg.decode_jpeg_header(data)[:2] != image.size[::-1]:
            return None
        pixels_HWC = simplejpeg.decode_jpeg(data, "RGB")
    except BROKEN:
        return None
    orientation = _orientation(image)
    if orientation in _SIDEWAYS:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    if orientation in _LEFT_RIGHT:
        pixels_HWC = pixels_HWC[:, ::-1]
    if orientation in _UPSIDE_DOWN:
        pixels_HWC = pixels_HWC[::-1]
    return np.ascontiguousarray(pixels_HWC)


def _page_size(data: bytes, name: str, page: int, budget: PixelBudget, dpi: int) -> tuple[int, int]:
    _check_bytes(data, name, budget)
    width, height = page_size(data, page, dpi, name)
    _check_size(width, height, name, budget)
    return width, height


def _check_bytes(data: bytes, name: str, budget: PixelBudget) -> None:
    if not data:
        raise PictureError("empty: 0 bytes", name)
    if len(data) > budget.max_bytes:
        raise PictureError(f"{len(data)} bytes, more than the {budget.max_bytes} allowed", name)


def _open_header(data: bytes, name: str, frame: int, budget: PixelBudget) -> Image.Image:
    _check_bytes(data, name, budget)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except BROKEN as error:
        # Pillow names the place in memory where it looked.
        told = "of no known kind" if isinstance(error, UnidentifiedImageError) else error
        reason = f"not a readable {', '.join(FORMATS)} file (starts with {data[:12]!r}): {told}"
        raise PictureError(reason, name) from error
    _check_size(*image.size, name, budget)
    try:
        image.seek(frame)
    except BROKEN as error:
        raise PictureError(f"{image.format} has no frame {frame}: {error}", name) from error
    _check_size(*image.size, name, budget)
    return image


def _fits(width: int, height: int, budget: PixelBudget) -> bool:
    return min(width, height) > 0 and width * height <= budget.max_pixels and max(width, height) <= budget.max_side


def _check_size(width: int, height: int, name: str, budget: PixelBudget) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"{width} x {height} px: no pixels", name)
    if width * height > budget.max_pixels:
        raise PictureError(f"{width} x {height} px is more than the {budget.max_pixels} pixels allowed", name)
    if max(width, height) > budget.max_side:
        raise PictureError(f"{width} x {height} px has a side over the {budget.max_side} px allowed", name)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation from the header, 1 where there is none or it is damaged."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF itself, its size included.
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # getexif() would decode all pixels in search of an EXIF block behind them.
    return _tag(image)


def _tag(image: Image.Image) -> int:
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except BROKEN:
        return 1
    return orientation if orientation in _TURNS else 1


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """8-bit RGB of a decoded picture, as ``open_picture`` says. Raises ``PictureError`` where it would."""
    if image.mode == "F":
        raise PictureError("floating-point pixels have no known range; save it with 8 or 16 bits per channel", name)
    if image.mode.startswith("I"):
        grey_HW = np.asarray(image)
        if grey_HW.min() < 0 or grey_HW.max() > 0xFFFF:
            raise PictureError("32-bit pixels have no known range; save it with 8 or 16 bits per channel", name)
        return Image.fromarray((grey_HW >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
