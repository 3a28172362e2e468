"""Frames out of a clip, with PyAV (the optional package of the extra ``video``)."""

from __future__ import annotations

import io
from itertools import islice
from typing import Any

from PIL import Image

from mm15.base.errors import MissingExtra, PictureError

MOST_DECODED = 4096
"""Frames that are decoded of a film that does not say how long it is."""


def film_frames(
    film: str | bytes, count: int, start: float = 0.0, end: float = 0.0, name: str = "film"
) -> list[tuple[float, Image.Image]]:
    """(second, RGB frame) in the middle of each of ``count`` equal parts of a film.

    Args:
        film: the path of a file, or its bytes.
        start, end: seconds that bound what is looked at; ``end`` 0: to the film's end.

    Raises:
        PictureError: not a readable film, or one without frames there.
        MissingExtra: PyAV is not installed.
    """
    try:
        import av
        import av.error
    except ImportError as error:
        raise MissingExtra("av", "video", "Looking into clips") from error
    try:
        with av.open(io.BytesIO(film) if isinstance(film, bytes) else film) as container:
            found = _frames(container, count, start, end)
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise PictureError(f"not a readable film ({error})", name) from error
    if not found:
        raise PictureError("a film without frames in its bounds", name)
    return found


def _frames(container: Any, count: int, start: float, end: float) -> list[tuple[float, Image.Image]]:
    stream = container.streams.video[0]
    length = float((stream.duration or 0) * stream.time_base) or (container.duration or 0) / 1e6
    if not length:
        shown = [(float(frame.time or 0), frame.to_image()) for frame in islice(container.decode(stream), MOST_DECODED)]
        shown = [one for one in shown if start <= one[0] and (not end or one[0] < end)]
        return [shown[int((k + 0.5) * len(shown) / count)] for k in range(min(count, len(shown)))]
    first = float((stream.start_time or 0) * stream.time_base)
    stop = min(end or length, length)
    found = []
    for k in range(count if start < stop else 0):
        wanted = first + start + (k + 0.5) * (stop - start) / count
        container.seek(int(wanted / stream.time_base), stream=stream)
        last = None
        for frame in container.decode(stream):
            if last is not None and float(frame.time or 0) > wanted:
                break
            last = frame  # The frame that is seen at that moment is the last one that began before it.
        if last is not None:
            found.append((float(last.time or 0) - first, last.to_image()))
    return found
