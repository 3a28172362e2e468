"""Clips: a film, an animation, or pictures in order, as the frames that are seen. Without torch.

One way in for training, evaluation, chat and the pages that show data: ``open_clip(part).frames()``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from mm15.base.errors import PictureError, SkipSample
from mm15.base.types import MediaRef, VideoPart
from mm15.images.animation import Animation, is_animation
from mm15.images.film import Film, Frame
from mm15.images.pixels import BUDGET, open_array, picture_size
from mm15.images.video import moments, spread
from mm15.io.clips import clip_source
from mm15.io.media import read_bytes

MOST = 4096
"""Frames that a clip may become."""


class _Kind(Protocol):
    width: int
    height: int
    seconds: float

    def frames(self, count: int, start: float, end: float) -> Iterator[Frame]: ...


class Pictures:
    """Single pictures in order, each seen for ``1 / fps`` seconds; ``fps`` 0: nobody knows, and bounds are refused."""

    def __init__(self, media: Sequence[MediaRef], name: str, fps: float) -> None:
        self._media, self._name, self._fps = media, name, fps
        self.width, self.height = _first_size(media, name)
        self.seconds = len(media) / fps if fps else 0.0

    def frames(self, count: int, start: float = 0.0, end: float = 0.0) -> Iterator[Frame]:
        """As ``Film.frames``; ``second`` counts pictures where their rate is not known."""
        total, rate = len(self._media), Fraction(self._fps or 1)
        if (start or end) and not self._fps:
            raise SkipSample(
                "'start' and 'end' are in seconds, but how many of these pictures are a second is not known"
            )
        if not start and not end:
            chosen = spread(count, total)
        else:
            stop = min(Fraction(end), total / rate) if end else total / rate
            if not Fraction(start) < stop:
                raise SkipSample(f"no frames from {start:g} s on: the clip is {self.seconds:.2f} s long")
            chosen = [int(at * rate) for at in moments(count, Fraction(start), stop)]
        for number in chosen:
            media = self._media[number]
            try:
                yield Frame(float(number / rate), open_array(read_bytes(media), Path(media.path).name))
            except SkipSample as error:
                yield Frame(float(number / rate), None, str(error))


class Clip:
    """A clip whose header was read. Use as a context manager.

    Attributes:
        width, height: px of its first frame, of a film as it is stored.
        seconds: how long it says it is; 0: it does not say.
        bad: moments whose frame could not be decoded, after ``frames``.
    """

    def __init__(self, part: VideoPart, kind: _Kind, file: BinaryIO | None, stamp: tuple[int, int] | None) -> None:
        self._part, self._kind, self._file, self._stamp = part, kind, file, stamp
        self.width, self.height, self.seconds = kind.width, kind.height, kind.seconds
        self.bad = 0
        self.reasons: list[str] = []

    def __enter__(self) -> Clip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._kind, Film):
            self._kind.__exit__(kind, error, trace)
        if self._file is not None:
            self._file.close()

    def frames(self, count: int = 0) -> Iterator[Frame]:
        """What is seen at ``count`` moments (0: as many as the part says), in order, one in memory at a time.

        A moment whose frame is damaged is given without pixels and with the reason, and counted in ``bad``.

        Raises:
            SkipSample: no frames between the part's bounds, not one that is good, or the file changed meanwhile.
        """
        good, part = 0, self._part
        for frame in self._kind.frames(count or part.frames, part.start, part.end):
            if frame.pixels_HWC is None:
                self.bad += 1
                self.reasons.append(frame.reason)
            else:
                good += 1
            yield frame
        if self._file is not None and _stamp(self._file) != self._stamp:
            raise PictureError("the file changed while it was read", str(part.media))
        if not good:
            raise PictureError(f"none of {self.bad} frames can be decoded: {self.reasons[0]}", str(part.media))


def open_clip(part: VideoPart, root: str | Path = "") -> Clip:
    """Open a clip and read its header.

    Raises:
        SkipSample: missing, empty, not a clip, over a budget, or bounds that leave nothing.
        MissingExtra: a film, and PyAV is not installed.
    """
    name = str(part.media)
    if not 1 <= part.frames <= MOST:
        raise SkipSample(f"a clip of {part.frames} frames; 1 to {MOST} can be drawn", name)
    if not 0 <= part.start < (part.end or float("inf")):
        raise SkipSample(f"nothing lies between {part.start:g} s and {part.end:g} s", name)
    source = clip_source(part.media, root)
    if isinstance(source, list):
        return Clip(part, Pictures(source, name, part.fps), None, None)
    try:
        stamp = _stamp(source)
        head = source.read(32)
        source.seek(0)
        kind: _Kind
        kind = Animation(_all(source, name), name) if is_animation(head) else Film(source, name)
        if kind.seconds and part.start >= kind.seconds:
            raise PictureError(f"no frames from {part.start:g} s on: the clip is {kind.seconds:.2f} s long", name)
        return Clip(part, kind, source, stamp)
    except BaseException:
        source.close()
        raise


def _first_size(media: Sequence[MediaRef], name: str) -> tuple[int, int]:
    """(width, height) of the first picture that has a readable header."""
    reasons = []
    for one in media:
        try:
            return picture_size(read_bytes(one), Path(one.path).name)
        except SkipSample as skip:
            reasons.append(str(skip))
    raise PictureError(f"none of {len(media)} pictures can be opened: {reasons[0]}", name)


def _all(source: BinaryIO, name: str) -> bytes:
    data = source.read(BUDGET.max_bytes + 1)
    if len(data) > BUDGET.max_bytes:
        raise PictureError(f"an animation of more than the {BUDGET.max_bytes} bytes allowed; save it as a film", name)
    return data


def _stamp(file: BinaryIO) -> tuple[int, int] | None:
    """Size and time of the file beneath; None: there is none."""
    try:
        found = os.fstat(getattr(file, "_file", file).fileno())
    except (OSError, AttributeError):
        return None
    return found.st_size, found.st_mtime_ns
