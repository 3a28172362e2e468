"""Animated GIF, WebP and PNG as clips, with Pillow. When frames begin is read from the file's blocks, undecoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate

import numpy as np
from PIL import Image

from mm15.base.errors import PictureError
from mm15.images.film import Frame
from mm15.images.pixels import BROKEN, picture_size, to_rgb
from mm15.images.video import moments, shown_at

MOST_FRAMES = 20_000
"""Frames of an animation: each is painted over the one before it, so all of them up to the last one are decoded."""
MOST_PIXELS = 8_000_000_000
"""Pixels of all frames of an animation together."""
INSTANT = Fraction(1, 50)
"""A frame that is to be seen for less is seen for ``USUAL`` seconds, as browsers have it."""
USUAL = Fraction(1, 10)


def is_animation(head: bytes) -> bool:
    """Whether a file that begins so (32 bytes) is of a kind that may be animated."""
    return head[:6] in (b"GIF87a", b"GIF89a") or head[:8] == b"\x89PNG\r\n\x1a\n" or _is_webp(head)


class Animation:
    """An animation, or a still picture, which is a clip of one frame that is seen for ``USUAL`` seconds.

    Attributes:
        width, height: px.
        seconds: length of one turn.

    Raises:
        PictureError: no such file, too many frames, or too many pixels.
    """

    def __init__(self, data: bytes, name: str = "animation") -> None:
        self._data, self._name = data, name
        self.width, self.height = picture_size(data, name)
        try:
            lengths = _lengths(data)
        except (IndexError, struct.error) as error:
            raise PictureError("its blocks are damaged", name) from error
        if len(lengths) > MOST_FRAMES or len(lengths) * self.width * self.height > MOST_PIXELS:
            raise PictureError(
                f"an animation of {len(lengths)} frames of {self.width} x {self.height} px is more than the "
                f"{MOST_FRAMES:,} frames and {MOST_PIXELS:,} pixels allowed; save it as a film",
                name,
            )
        seen = [USUAL if length < INSTANT else length for length in lengths or [Fraction(0)]]
        self._begins = [Fraction(0), *accumulate(seen)][:-1]
        self._length = sum(seen, Fraction(0))
        self.seconds = float(self._length)

    def frames(self, count: int, start: float = 0.0, end: float = 0.0) -> Iterator[Frame]:
        """What is seen in the middle of each of ``count`` equal parts, in order; see ``images.video``.

        Raises:
            PictureError: nothing lies between start and end.
        """
        stop = min(Fraction(end), self._length) if end else self._length
        if not Fraction(start) < stop:
            raise PictureError(f"no frames from {start:g} s on: it is {self.seconds:.2f} s long", self._name)
        at = moments(count, Fraction(start), stop)
        yield from self._decoded(at, shown_at(self._begins, at))

    def _decoded(self, at: Sequence[Fraction], wanted: Sequence[int]) -> Iterator[Frame]:
        pixels_HWC, reason, held = None, "", -1
        with Image.open(io.BytesIO(self._data)) as image:
            for moment, number in zip(at, wanted, strict=True):
                if number != held:
                    try:
                        image.seek(number)
                        pixels_HWC, reason, held = np.array(to_rgb(image.copy(), self._name)), "", number
                    except (*BROKEN, PictureError) as error:
                        pixels_HWC, reason, held = None, f"frame {number}: {error}", number
                yield Frame(float(moment), pixels_HWC, reason)


def _lengths(data: bytes) -> list[Fraction]:
    """Seconds for which every frame is to be seen; those before the place where the file is cut off."""
    if data[:3] == b"GIF":
        return list(_gif(data))
    return list(_webp(data) if _is_webp(data) else _png(data))


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _gif(data: bytes) -> Iterator[Fraction]:
    """GIF89a, sections 18 to 23: blocks after the screen's header and colours."""

    def colours(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def after_blocks(place: int) -> int:
        while place < len(data) and data[place]:
            place += data[place] + 1
        return place + 1

    place, hundredths = 13 + colours(data[10]), 0
    while place + 10 <= len(data) and data[place] in (0x21, 0x2C):
        if data[place] == 0x21:
            if data[place + 1] == 0xF9:
                hundredths = int.from_bytes(data[place + 4 : place + 6], "little")
            place = after_blocks(place + 2)
        else:
            yield Fraction(hundredths, 100)
            place = after_blocks(place + 11 + colours(data[place + 9]))


def _webp(data: bytes) -> Iterator[Fraction]:
    """The chunks ``ANMF`` of a WebP container."""
    place = 12
    while place + 24 <= len(data):
        if data[place : place + 4] == b"ANMF":
            yield Fraction(int.from_bytes(data[place + 20 : place + 23], "little"), 1000)
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2


def _png(data: bytes) -> Iterator[Fraction]:
    """The chunks ``fcTL`` of an animated PNG; a picture before the animation is not a frame of it."""
    place = 8
    while place + 34 <= len(data):
        if data[place + 4 : place + 8] == b"fcTL":
            above, below = struct.unpack(">HH", data[place + 28 : place + 32])
            yield Fraction(above, below or 100)
        place += 12 + int.from_bytes(data[place : place + 4], "big")
