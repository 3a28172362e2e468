"""Frames out of a film, with PyAV (the optional package of the extra ``video``).

For every moment the decoder is sent to the key frame before it, or goes on from where it is if that is nearer, and
frames that no other frame needs are not decoded on the way. What a header claims is looked up and never trusted: it
decides no amount of memory, and work ends at the budgets below.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mm15.base.errors import MissingExtra, PictureError
from mm15.images.pixels import BUDGET
from mm15.images.video import moments

FORMATS = "mov,mp4,matroska,webm,avi,asf,mpeg,mpegts,ogg"
"""The only containers that are opened. Play lists are none of them: they name other files, and addresses."""
MOST_FRAMES = 40_000
"""Frames of one film that are decoded: 20 minutes without a key frame at 30 a second."""
MOST_PIXELS = 64_000_000_000
"""Pixels of one film that are decoded."""
MOST_PACKETS = 400_000
"""Packets that are read to find the end of a film that does not tell it: four hours at 25 a second."""
THREADS = 2
"""Of a decoder."""
NO_INDEX = ("mpeg", "mpegts")
"""Containers that tell no length and have no table of key frames: the end is looked up, the beginning overshot."""
COMPLETE = ("h264", "hevc", "vp9", "libdav1d", "av1")
"""Codecs whose every packet is a frame, so that one that does not come is known to be missing."""
HELD = 32
"""Packets that wait until it is known whether theirs is the wanted frame."""
BUFFER = 1 << 17
EARLIER = (1, 4, 16, 64)
"""Seconds by which the place that is looked for is moved back while what is found there begins too late."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen at one moment: upright RGB, uint8 [H, W, 3]; or None, and why."""

    second: float
    pixels_HWC: np.ndarray | None
    reason: str = ""


class _Decoded(NamedTuple):
    """A frame, when it begins, and why its pixels cannot be trusted."""

    frame: Any
    tick: int
    reason: str


def av_package(purpose: str = "Looking into clips") -> Any:
    """The package ``av``. Raises ``MissingExtra`` without it."""
    try:
        import av
        import av.error
    except ImportError as error:
        raise MissingExtra("av", "video", purpose) from error
    return av


class Film:
    """An open film file; use as a context manager. Opening reads the header and decodes nothing of note.

    Args:
        file: open for reading, can seek; or bytes.
        name: what errors call it.
        threads: of the decoder.

    Attributes:
        width, height: px as they are stored, before a turn that the file asks for.
        seconds: how long it says it is; 0: it does not say.

    Raises:
        PictureError: not one of ``FORMATS``, no pictures in it, or pictures over the pixel budget.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, file: BinaryIO | bytes, name: str = "film", threads: int = THREADS) -> None:
        self._av = av_package()
        self._name = name
        opened = io.BytesIO(file) if isinstance(file, bytes) else file
        try:
            # Nothing but these bytes is ever read: no protocol is allowed, and no container that names other files.
            only = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
            self._container = self._av.open(
                opened, container_options=only, buffer_size=BUFFER, metadata_errors="replace"
            )
        except (*self._errors, UnicodeError) as error:
            raise PictureError(f"not a readable film ({_told(error)})", name) from error
        try:
            self._prepare(threads)
        except BaseException:
            self._container.close()
            raise

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return self._av.error.FFmpegError, IndexError, ValueError, OSError, RuntimeError, MemoryError

    def _prepare(self, threads: int) -> None:
        found = [one for one in self._container.streams.video if not _is_cover(one)]
        if not found:
            kinds = ", ".join(sorted({one.type for one in self._container.streams})) or "nothing"
            raise PictureError(f"a film without a video stream (it holds {kinds})", self._name)
        self._stream = stream = found[0]
        if stream.codec_context is None or not stream.time_base:
            raise PictureError("a video stream of a kind that cannot be decoded", self._name)
        self.width, self.height = stream.codec_context.width, stream.codec_context.height
        self._check(self.width, self.height)
        stream.thread_type = "FRAME" if threads > 1 else "NONE"
        stream.codec_context.thread_count = threads
        # An error is told instead of painted over: a frame is good, or it counts as one that is not.
        stream.codec_context.options = {"err_detect": "explode"}
        self._codec, self._prefix = stream.codec_context.name, _prefix_of(stream.codec_context)
        self._complete = self._codec in COMPLETE and self._container.format.name not in NO_INDEX
        self._first = stream.start_time or 0
        ticks = stream.duration or 0
        container = self._container.duration or 0
        self.seconds = float(ticks * stream.time_base) if ticks > 0 else max(0.0, container / 1_000_000)
        self._frames_left, self._pixels_left = MOST_FRAMES, MOST_PIXELS
        self._reach = 0
        """Ticks from a key frame to a moment, the most so far."""
        self._wanted = 0
        self._flow: Iterator[_Decoded] = iter(())
        self._shown: _Decoded | None = None
        self._ahead: _Decoded | None = None
        self._due: set[int] = set()
        """When frames begin whose packets the decoder was given, and that it did not give yet."""
        self._lost: set[int] = set()
        self._broken = ""
        """Why frames up to the next key frame cannot be trusted."""

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(self, count: int, start: float = 0.0, end: float = 0.0) -> Iterator[Frame]:
        """What is seen in the middle of each of ``count`` equal parts of the film, in order; see ``images.video``.

        Where the pictures end well before the film is said to, the part that has pictures is divided.

        Args:
            start, end: seconds that bound what is looked at; ``end`` 0, or beyond the film's end: to its end.

        Raises:
            PictureError: the film has no frames there.
        """
        begin = Fraction(start)
        stop = self._stop(count, begin, Fraction(end))
        if not begin < stop:
            raise PictureError(f"a film without frames from {start:g} s on: it is {float(stop):.2f} s long", self._name)
        for moment in moments(count, begin, stop):
            yield self._frame(moment)

    def _stop(self, count: int, begin: Fraction, end: Fraction) -> Fraction:
        """Where to stop, in seconds: the wanted end, the claimed length, or the real one if that is much shorter."""
        base = self._stream.time_base
        claimed = Fraction(self.seconds).limit_denominator(10**9)
        stop = min(end, claimed) if end and claimed else end or claimed
        if stop and not begin < stop:
            return claimed
        # A film that does not say how long it is, is read through to its last packet.
        last = moments(count, begin, stop)[-1] if stop else None
        tick = 0 if last is None else self._tick(last)
        # A length that is only an estimate may be too short as well.
        sure = last is not None and self._container.format.name not in NO_INDEX
        real = self._last_packet(tick, tick if sure else None)
        if real is None:
            if last is None:
                raise PictureError("a film without frames", self._name)
            return stop
        seconds = (real - self._first) * Fraction(base)
        return min(end, seconds) if end else seconds

    def _last_packet(self, place: int, until: int | None) -> int | None:
        """The tick where the last picture ends, or None: there are pictures after ``until``, or none were found."""
        last = None
        rate = self._stream.average_rate
        # Such containers do not say how long a frame is, or give the length of half a frame.
        guessed = rate and self._container.format.name in NO_INDEX
        usual = int(1 / rate / self._stream.time_base) if guessed else 0
        try:
            # Without an index a place may lie behind the packet of a frame that is shown later.
            before = int(1 / self._stream.time_base) if self._container.format.name in NO_INDEX else 0
            self._container.seek(place - before, stream=self._stream)
            for number, packet in enumerate(self._container.demux(self._stream)):
                at = packet.pts if packet.pts is not None else packet.dts
                if at is None:
                    continue
                if last is None and until is not None:
                    self._reach = max(self._reach, until - at)
                last = max(last or at, at + (usual or packet.duration or 0))
                if (until is not None and at > until) or number >= MOST_PACKETS:
                    return None if until is not None else last
        except self._errors:
            return None if until is not None else last
        return None if last is None or (until is not None and last > until) else last

    def _tick(self, moment: Fraction) -> int:
        """The tick at or before a moment."""
        return self._first + int(moment / self._stream.time_base)

    def _frame(self, moment: Fraction) -> Frame:
        try:
            found, reason = self._seek_frame(self._tick(moment))
            if found is None or reason:
                return Frame(float(moment), None, reason or "nothing is there")
            return Frame(float(moment), self._pixels(found))
        except PictureError as error:
            reason = error.reason
        except self._errors as error:
            reason = _told(error)
        self._shown = self._ahead = None
        return Frame(float(moment), None, reason)

    def _seek_frame(self, tick: int) -> tuple[Any, str]:
        """The decoded frame that is seen at a tick, and why it cannot be trusted."""
        self._wanted = tick
        if self._shown is not None:
            at, length = self._shown.tick, getattr(self._shown.frame, "duration", 0) or 0
            if at <= tick and tick - at <= max(self._reach // 2, length):
                return self._go_on(tick)
        found, reason = None, ""
        for earlier in (0, *EARLIER):
            place = max(self._first, tick - int(earlier / self._stream.time_base))
            # Without an index the beginning is found only by asking for what lies before it.
            unsure = place == self._first and self._container.format.name in NO_INDEX
            before = int(1 / self._stream.time_base) if unsure else 0
            self._container.seek(place - before, stream=self._stream)
            self._flow, self._shown, self._ahead, self._broken = self._decoded(), None, None, ""
            found, reason = self._go_on(tick)
            if found is not None or place == self._first:
                break
        if found is None and self._ahead is not None:
            # What begins with its first frame late, shows that one from the beginning.
            return self._ahead.frame, self._ahead.reason
        return found, reason or self._broken

    def _go_on(self, tick: int) -> tuple[Any, str]:
        """Decode from where we are until a frame begins after ``tick``; the one before it, and why not to trust it."""
        began = None
        while True:
            if self._ahead is None:
                self._ahead = next(self._flow, None)
            if self._ahead is None or self._ahead.tick > tick:
                break
            if self._shown is None:
                began = self._ahead.tick
            self._shown, self._ahead = self._ahead, None
        if began is not None:
            self._reach = max(self._reach, tick - began)
        shown = self._shown
        if shown is None:
            return None, ""
        lost = any(shown.tick < one <= tick for one in self._due | self._lost)
        return shown.frame, shown.reason or ("damaged (the frame is missing)" if lost else "")

    def _decoded(self) -> Iterator[_Decoded]:
        """Frames in the order in which they are shown, from where the container stands."""
        waiting: deque[Any] = deque()
        self._due, self._lost, last = set(), set(), None
        for packet in self._container.demux(self._stream):
            waiting.append(packet)
            ends = packet.dts is None
            passed = max((one.pts for one in waiting if one.pts is not None and one.pts <= self._wanted), default=None)
            while waiting:
                first = waiting[0]
                unwanted = first.pts is not None and passed is not None and first.pts < passed
                known = ends or first.pts is None or first.pts > self._wanted or unwanted or packet.dts > self._wanted
                if not known and len(waiting) < HELD:
                    break
                fed = waiting.popleft()
                skipped = unwanted and self._prefix > 0 and _unneeded(fed, self._prefix, self._codec)
                if self._complete and fed.size and fed.pts is not None and not fed.is_discard and not skipped:
                    self._due.add(fed.pts)
                    # What comes before the first key frame is shown by no decoder.
                    last = fed.pts - 1 if last is None else last
                for frame in self._fed(fed, skipped):
                    tick = frame.pts if frame.pts is not None else frame.dts
                    if tick is None:
                        continue
                    missing = {one for one in self._due if one < tick}
                    self._due -= missing | {tick}
                    if missing := {one for one in missing if last is not None and one > last}:
                        self._lost = missing
                        self._broken = "damaged (a frame that it is made from is missing)"
                    if frame.key_frame:
                        self._broken = ""
                    last = tick if last is None else max(last, tick)
                    yield _Decoded(frame, tick, self._broken or ("damaged" if frame.is_corrupt else ""))

    def _fed(self, packet: Any, skipped: bool) -> list[Any]:
        """What the decoder gives after a packet; errors are kept for the frames up to the next key frame."""
        if self._prefix:
            self._stream.codec_context.skip_frame = "NONREF" if skipped else "DEFAULT"
        try:
            frames = packet.decode()
        except self._av.error.FFmpegError as error:
            self._broken = f"damaged ({_told(error)})"
            return []
        self._frames_left -= len(frames)
        self._pixels_left -= sum(frame.width * frame.height for frame in frames)
        if min(self._frames_left, self._pixels_left) < 0:
            raise PictureError(
                f"more than {MOST_FRAMES:,} frames or {MOST_PIXELS:,} pixels would have to be decoded: "
                "too few key frames; encode it with a key frame every few seconds",
                self._name,
            )
        return frames

    def _pixels(self, frame: Any) -> np.ndarray:
        self._check(frame.width, frame.height)
        ratio = self._stream.sample_aspect_ratio
        # Pixels that are not square are made square, as players do.
        width = round(frame.width * ratio) if ratio and Fraction(1, 4) <= ratio <= 4 else frame.width
        self._check(width, frame.height)
        pixels_HWC = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels_HWC, turns)) if turns else pixels_HWC

    def _check(self, width: int, height: int) -> None:
        if min(width, height) < 1:
            raise PictureError(f"a film of {width} x {height} px: no pixels", self._name)
        if width * height > BUDGET.max_pixels or max(width, height) > BUDGET.max_side:
            allowed = f"{BUDGET.max_pixels} pixels and sides of {BUDGET.max_side} px"
            raise PictureError(f"a film of {width} x {height} px is more than the {allowed} allowed", self._name)


def film_frames(
    film: BinaryIO | bytes, count: int, start: float = 0.0, end: float = 0.0, name: str = "film"
) -> list[Frame]:
    """All of ``Film.frames`` at once. Raises what it raises."""
    with Film(film, name) as opened:
        return list(opened.frames(count, start, end))


def _told(error: BaseException) -> str:
    """What went wrong, without FFmpeg's number for it."""
    return str(getattr(error, "strerror", None) or error)


def _prefix_of(context: Any) -> int:
    """Bytes of the length before every unit of a packet, for H.264 and HEVC in files; 0: of another kind."""
    extra, place = context.extradata or b"", {"h264": 4, "hevc": 21}.get(context.name, 0)
    return (extra[place] & 3) + 1 if place and len(extra) > place and extra[0] == 1 else 0


def _unneeded(packet: Any, prefix: int, codec: str) -> bool:
    """Whether no other frame is made from this one: H.264, nal_ref_idc 0; HEVC, a sub-layer non-reference picture."""
    data, place = memoryview(packet), 0
    while place + prefix < len(data):
        length, unit = int.from_bytes(data[place : place + prefix], "big"), data[place + prefix]
        if codec == "h264" and unit & 31 in (1, 5):
            return unit & 0x60 == 0
        if codec == "hevc" and unit >> 1 & 63 < 32:
            return unit >> 1 & 63 < 16 and unit >> 1 & 1 == 0
        place += prefix + length
    return False


def _is_cover(stream: Any) -> bool:
    """A still picture that belongs to the sound."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()
