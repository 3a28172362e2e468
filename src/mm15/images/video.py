"""Which frames of a clip are seen: the middle of N equal spans of time. Pure; nothing is opened here.

MM1.5 says "24 frames, uniformly sampled" and no more. Public code takes ``np.linspace(0, n - 1, N)`` of frame numbers,
ends included (LLaVA-NeXT-Video, lmms-eval). We take the middle of each of N equal spans: it needs to know how long a
clip is and not which frame is its last one (headers are wrong about that first), a fade from black and the last, often
damaged, frame then stand for nothing, and one frame of a clip is its middle. The two differ by at most half a span.
Time and not frame numbers are divided, so that at a variable rate a slide counts for as long as it is seen. A clip with
fewer frames than N shows some of them several times, as with linspace: what a clip costs in tokens is known without
looking into it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction


def moments(count: int, start: Fraction, end: Fraction) -> list[Fraction]:
    """The middle of each of ``count`` equal parts of ``start`` to ``end``, in seconds, exact.

    Raises:
        ValueError: no part, or nothing between start and end.
    """
    if count < 1 or not start < end:
        raise ValueError(f"{count} moments between {float(start)} s and {float(end)} s: there are none")
    return [start + (end - start) * (2 * k + 1) / (2 * count) for k in range(count)]


def shown_at(begins: Sequence[Fraction], wanted: Sequence[Fraction]) -> list[int]:
    """The number of the frame that is seen at every moment: the last one that began at or before it, else the first.

    Args:
        begins: when every frame begins, rising.
    """
    return [max(0, bisect_right(begins, moment) - 1) for moment in wanted]


def spread(count: int, total: int) -> list[int]:
    """``shown_at`` of ``moments`` for ``total`` frames of equal length: floor((k + 1/2) total / count).

    Raises:
        ValueError: ``count`` or ``total`` below 1.
    """
    if count < 1 or total < 1:
        raise ValueError(f"{count} of {total} frames: both start at 1")
    return [(2 * k + 1) * total // (2 * count) for k in range(count)]
