"""Box and point ↔ coordinate text: plain numbers, no special tokens.

The format is Ferret's (arXiv 2310.07704, section 3.1 of its code's data notes: a virtual 1000 × 1000 canvas over the
original image): ``[x1, y1, x2, y2]`` and ``[x, y]`` with integers 0-999, x by the width and y by the height of the
original picture, truncated after clamping to the last pixel. MM1.5 writes regions as text in this lineage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mm15.base.errors import SkipSample
from mm15.base.types import Box, Point, Region

SCALE = 1000

# A bracket with nothing but numbers in it, closed or cut off by the end of the text.
_BRACKET = re.compile(r"\[([0-9\s,.;+-]*+)(\]|\Z)")
# One to three digits are 0-999: a number outside the scale cannot match.
_REGION = re.compile(r"\s*[0-9]{1,3}\s*,\s*[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}\s*,\s*[0-9]{1,3})?\s*")
_CLAUSE = re.compile(r"[.,;:!?()\n\]\[]")
_LINKING = re.compile(
    "a|an|the|this|that|these|those|and|or|but|then|also|there|here|it|its|is|are|was|were|be|been|has|have|of|at|in|on|"
    "to|with|by|near|next|beside|behind|above|below|under|over|from|as|located|found|where|while|i|see|can",
    re.IGNORECASE,
)
_MAX_LABEL_WORDS = 12


@dataclass(frozen=True, slots=True)
class FoundRegion:
    """A region read from text.

    ``region`` is in pixels of the picture, ``norm`` the numbers as written (0-999), ``label`` the words before the
    bracket, ``start`` and ``end`` the bracket's place in the text.
    """

    region: Region
    norm: tuple[int, ...]
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class BadRegion:
    """A bracket of numbers that is not a region: its text, its place and why."""

    text: str
    reason: str
    start: int
    end: int


def write_region(region: Region, width: int, height: int) -> str:
    """``write_box`` or ``write_point``."""
    return write_box(region, width, height) if isinstance(region, Box) else write_point(region, width, height)


def write_box(box: Box, width: int, height: int) -> str:
    """``[x1, y1, x2, y2]`` of a box in pixels of a ``width`` × ``height`` picture.

    A box thinner than one step of the scale is widened to one step, so that what is written can be read back.

    Raises:
        SkipSample: the box has no area, is not finite, or lies outside the picture.
    """
    if not (box.x1 < box.x2 and box.y1 < box.y2):
        raise SkipSample(f"box {_show(box)} has no area; expected x1 < x2 and y1 < y2 in pixels")
    if not (box.x1 < width and box.y1 < height and box.x2 > 0 and box.y2 > 0):
        raise SkipSample(f"box {_show(box)} lies outside its {width}×{height} picture")
    x1, x2 = _interval(box.x1, box.x2, width)
    y1, y2 = _interval(box.y1, box.y2, height)
    return f"[{x1}, {y1}, {x2}, {y2}]"


def write_point(point: Point, width: int, height: int) -> str:
    """``[x, y]`` of a point in pixels of a ``width`` × ``height`` picture.

    Raises:
        SkipSample: the point is not finite or lies outside the picture.
    """
    if not (0 <= point.x <= width and 0 <= point.y <= height):
        raise SkipSample(f"point ({point.x:g}, {point.y:g}) lies outside its {width}×{height} picture")
    return f"[{_step(point.x, width)}, {_step(point.y, height)}]"


def _step(value: float, side: int) -> int:
    # The tiny addend undoes float noise, so that a region read from text is written as the same text again.
    return int(min(max(value, 0), side - 1) * SCALE / side + 1e-9)


def _interval(low: float, high: float, side: int) -> tuple[int, int]:
    first, last = _step(low, side), _step(high, side)
    if first < last:
        return first, last
    return min(first, SCALE - 2), min(first, SCALE - 2) + 1


def parse_regions(text: str, width: int, height: int, image: int = 0) -> list[FoundRegion]:
    """Boxes and points in a text, in order, as pixels of picture number ``image``: x = v · width / 1000.

    Numbers are taken on the 0-999 scale or not at all; what looks like a region and is none is left out here and named
    by ``malformed_regions``. Never raises, whatever the text.
    """
    found: list[FoundRegion] = []
    label, previous_end = "", 0
    for start, end, numbers, reason in _brackets(text):
        between = text[previous_end:start]
        if not _only_links(between):
            label = _label(between)
        previous_end = end
        if reason:
            continue
        x = [value * width / SCALE for value in numbers[0::2]]
        y = [value * height / SCALE for value in numbers[1::2]]
        region = Box(x[0], y[0], x[1], y[1], image) if len(x) == 2 else Point(x[0], y[0], image)
        found.append(FoundRegion(region, numbers, label, start, end))
    return found


def malformed_regions(text: str) -> list[BadRegion]:
    """Brackets of two or more numbers that ``parse_regions`` leaves out, each with its reason."""
    return [BadRegion(text[start:end], reason, start, end) for start, end, _, reason in _brackets(text) if reason]


def _brackets(text: str) -> Iterator[tuple[int, int, tuple[int, ...], str]]:
    """(start, end, numbers, reason) of every bracket of two or more numbers; the reason is empty for a region."""
    for match in _BRACKET.finditer(text):
        inside = match[1]
        pieces = re.findall(r"[0-9.]+", inside)
        if len(pieces) < 2:
            continue
        numbers: tuple[int, ...] = ()
        if not match[2]:
            reason = "the text ends inside the bracket"
        elif not _REGION.fullmatch(inside):
            reason = "expected 2 or 4 integers from 0 to 999, separated by commas"
        else:
            numbers = tuple(map(int, pieces))
            upright = len(numbers) == 2 or (numbers[0] < numbers[2] and numbers[1] < numbers[3])
            reason = "" if upright else "expected x1 < x2 and y1 < y2"
        yield match.start(), match.end(), numbers, reason


def _label(before: str) -> str:
    """The noun phrase that ends a text: its last clause without linking words around it."""
    words = _CLAUSE.split(before.rstrip(" \n:,-[("))[-1].split()
    while words and _LINKING.fullmatch(words[0]):
        del words[0]
    while words and _LINKING.fullmatch(words[-1]):
        del words[-1]
    return " ".join(words[-_MAX_LABEL_WORDS:])


def _only_links(between: str) -> bool:
    """Whether nothing but linking words and punctuation stands between two brackets: they share their label."""
    return all(map(_LINKING.fullmatch, re.findall(r"\w+", between))) and not re.search(r"[.!?\n]", between)


def _show(box: Box) -> str:
    return f"({box.x1:g}, {box.y1:g}, {box.x2:g}, {box.y2:g})"
