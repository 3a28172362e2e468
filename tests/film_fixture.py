"""Films whose every frame shows its own number, so that a test can say which frames were seen."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BITS, CELL, COLS = 12, 16, 4
WIDTH, HEIGHT = CELL * COLS, CELL * BITS // COLS


def picture_of(number: int) -> np.ndarray:
    """The number as 12 black and white squares, uint8 [48, 64, 3]."""
    pixels_HWC = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        y, x = bit // COLS * CELL, bit % COLS * CELL
        pixels_HWC[y : y + CELL, x : x + CELL] = 255 * (number >> bit & 1)
    return pixels_HWC


def number_in(pixels_HWC: np.ndarray | None) -> int | None:
    """The number a frame shows, whatever its size."""
    if pixels_HWC is None:
        return None
    small = np.asarray(Image.fromarray(pixels_HWC).resize((COLS, BITS // COLS), Image.Resampling.BOX))
    return sum(1 << bit for bit in range(BITS) if small[bit // COLS, bit % COLS].mean() > 127)


def write_film(
    path: Path,
    ticks: Sequence[int],
    tick: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    gap: int = 25,
    turn: int = 0,
    ratio: Fraction | None = None,
    **options: str,
) -> Path:
    """A film with a frame at every tick, a key frame at least every ``gap`` frames, turned by ``turn`` degrees.

    ``ratio`` is the width of a pixel over its height.
    """
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=round(1 / tick))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gap
        stream.codec_context.time_base = tick
        stream.bit_rate = 2_000_000
        # A single frame out of x265's reordering has no valid decoding time in one run of five: the mp4 writer refuses.
        reordered = "" if len(ticks) > 1 else ":bframes=0"
        own = {"libx264": {"crf": "10", "preset": "veryfast"}, "libx265": {"x265-params": f"log-level=none{reordered}"}}
        stream.options = own.get(codec, {}) | options
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if turn:
            stream.set_display_rotation(turn)
        for number, at in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24")
            frame.pts, frame.time_base = at, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def small_film(path: Path, frames: int = 6, size: tuple[int, int] = (40, 24)) -> Path:
    """A real film of a few frames that grow lighter, 8 a second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(frames):
            shade = 255 * number // max(1, frames - 1)
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", size, (shade,) * 3))))
        container.mux(stream.encode())
    return path


def animation(numbers: Iterable[int], milliseconds: Sequence[int], form: str = "GIF") -> bytes:
    """Frames as an animated GIF, WEBP or PNG."""
    file = io.BytesIO()
    first, *others = [Image.fromarray(picture_of(number)) for number in numbers]
    more: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    first.save(file, form, save_all=True, append_images=others, duration=list(milliseconds), **more)
    return file.getvalue()


def seen(frames: Iterable[Any]) -> list[int | None]:
    """The numbers of frames as they are given."""
    return [number_in(frame.pixels_HWC) for frame in frames]
