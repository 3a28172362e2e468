"""Real pages: the words a PDF's text layer claims, and pictures of the places where they stand.

Page coordinates are PDF points with the origin at the bottom left; picture coordinates are pixels from the top left.
A page whose text layer cannot be trusted raises ``SkipSample`` and is counted, never mislabelled.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mm15.base.errors import MissingExtra, SkipSample
from mm15.base.rng import python_rng
from mm15.build.canvas import BuildReport
from mm15.build.materials import Materials, Split
from mm15.text.legible import unusable

CACHED_PAGES = 128
PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "})


class Glyph(NamedTuple):
    """One character and its tight box in page points."""

    char: str
    left: float
    bottom: float
    right: float
    top: float


Word = tuple[Glyph, ...]
Line = tuple[Word, ...]


class PageText(NamedTuple):
    """A page with a trustworthy text layer: lines of words in reading order, columns and table cells apart."""

    path: Path
    number: int
    """Counted from 0."""
    lines: tuple[Line, ...]


def text_of(words: Sequence[Word]) -> str:
    """The words as a reader would write them, single spaces between."""
    return " ".join("".join(glyph.char for glyph in word) for word in words)


@lru_cache(maxsize=1)
def _pdfium() -> Any:
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra("pypdfium2", "pdf", "reading PDF pages") from error
    # pdfium complains on stderr about whatever is open when it shuts down.
    atexit.register(lambda: (_page.cache_clear(), _open.cache_clear()))
    return pypdfium2


def pdfium_error() -> type[Exception]:
    """What pdfium raises where it cannot do what it is asked."""
    return _pdfium().PdfiumError


@lru_cache(maxsize=4)
def _open(path: Path) -> Any:
    try:
        # From bytes: forked workers would share the position of an open file.
        return _pdfium().PdfDocument(path.read_bytes())
    except _pdfium().PdfiumError as error:
        raise SkipSample("not a readable PDF", str(path)) from error


@lru_cache(maxsize=32)
def _page(path: Path, index: int) -> Any:
    try:
        return _open(path)[index]
    except _pdfium().PdfiumError as error:
        raise SkipSample("not a readable page", f"{path}#{index}") from error


@lru_cache(maxsize=CACHED_PAGES)
def read_page(path: Path, index: int) -> PageText:
    """The text layer of one page, checked against its ink.

    Raises:
        SkipSample: the page cannot be read or is rotated, or its text layer has control characters, too little
            text, letters that spell nothing, or disagrees with the ink.
        MissingExtra: pypdfium2 is not installed.
    """
    address = f"{path}#{index}"
    page = _page(path, index)
    if page.get_rotation():
        raise SkipSample("rotated page", address)
    glyphs = _glyphs(page)
    reason = unusable(" ".join("".join(glyph.char for glyph in run) for run in glyphs))
    lines = tuple(line for run in glyphs for line in _lines(run))
    if reason is None and (_inked_share(page, lines) < 0.9 or _shaped_share(lines) < 0.8):
        reason = "text and ink disagree"
    if reason is not None:
        raise SkipSample(reason, address)
    return PageText(path, index, lines)


def page_handle(page: PageText) -> Any:
    """The open page of pdfium: to measure and to draw it."""
    return _page(page.path, page.number)


def page_count(path: Path) -> int:
    """Pages of a PDF. Raises ``SkipSample`` where it cannot be opened."""
    return len(_open(path))


@dataclass(frozen=True, slots=True)
class PageReport(BuildReport):
    """A build that drew on ``pages`` PDF pages and dropped others, counted by reason."""

    pages: int
    dropped: Mapping[str, int]


def usable_pages(
    materials: Materials, split: Split, seed: int, rows: int
) -> tuple[list[tuple[Path, int]], dict[str, int]]:
    """Randomly drawn pages that can be trusted, enough for ``rows`` rows, and how many were dropped, by reason.

    Reading a page takes about 30 ms, so there are at most 128 (which stay in memory) up to 50,000 rows.
    """
    wanted = max(16, min(rows // 32, CACHED_PAGES), rows // 400)
    found: list[tuple[Path, int]] = []
    dropped: Counter[str] = Counter()
    pages = list(materials.pdf_pages(split))
    python_rng(seed, "pdf-pages", split).shuffle(pages)
    for path, number in pages:
        if len(found) == wanted:
            break
        try:
            read_page(path, number)
        except SkipSample as skipped:
            dropped[skipped.reason] += 1
        else:
            found.append((path, number))
    return found, dict(dropped)


def _glyphs(page: Any) -> list[list[Glyph]]:
    """Runs of glyphs between line breaks; spaces kept as glyphs without ink."""
    raw = _pdfium().raw
    textpage = page.get_textpage()
    runs: list[list[Glyph]] = [[]]
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for index in range(textpage.count_chars()):
        char = chr(raw.FPDFText_GetUnicode(textpage.raw, index))
        if char in "\r\n":
            if runs[-1]:
                runs.append([])
            continue
        raw.FPDFText_GetCharBox(textpage.raw, index, left, right, bottom, top)
        runs[-1].append(Glyph(char.translate(PLAIN), left.value, bottom.value, right.value, top.value))
    textpage.close()
    return runs


def _lines(run: Sequence[Glyph]) -> list[Line]:
    """Split a run at spaces into words, and at wide gaps or changes of height into lines of their own."""
    lines: list[list[list[Glyph]]] = [[[]]]
    for glyph in run:
        if glyph.char.isspace() or glyph.right <= glyph.left or glyph.top <= glyph.bottom:
            if lines[-1][-1]:
                lines[-1].append([])
            continue
        last = next((word[-1] for word in reversed(lines[-1]) if word), None)
        if last is not None:
            height = max(last.top - last.bottom, glyph.top - glyph.bottom, 4.0)
            ahead, rise = glyph.left - last.right, abs(glyph.bottom - last.bottom)
            if ahead > 2 * height or glyph.left < last.left or rise > 1.5 * height:
                lines.append([[]])
        lines[-1][-1].append(glyph)
    kept = [tuple(tuple(word) for word in line if word) for line in lines]
    return [line for line in kept if line]


def _inked_share(page: Any, lines: Sequence[Line]) -> float:
    """Share of words that have contrast where the text layer puts them."""
    left, _, _, top = page.get_bbox()
    gray = page.render(scale=1.0, grayscale=True).to_numpy().squeeze()
    inked, words = 0, [word for line in lines for word in line]
    for word in words:
        x1, x2 = min(g.left for g in word) - left, max(g.right for g in word) - left
        y1, y2 = top - max(g.top for g in word), top - min(g.bottom for g in word)
        patch = gray[max(0, int(y1)) : max(0, int(y2) + 1), max(0, int(x1)) : max(0, int(x2) + 1)]
        inked += bool(patch.size) and int(patch.max()) - int(patch.min()) >= 30
    return inked / max(1, len(words))


def _shaped_share(lines: Sequence[Line]) -> float:
    """Share of small letters drawn as tall as what the text layer calls them: "o" low, "d" high.

    Finds text layers that name other letters than the ones that are drawn; glyph boxes come from the drawn outlines.
    """
    fitting = total = 0
    for line in lines:
        heights = {"low": [], "high": []}
        for glyph in (glyph for word in line for glyph in word):
            kind = "low" if glyph.char in "acemnorsuvwxz" else "high" if glyph.char in "bdfhkl" else None
            if kind:
                heights[kind].append(glyph.top - glyph.bottom)
        if heights["low"] and heights["high"]:
            usual = median(heights["low"])
            fitting += sum(abs(height - usual) < 0.2 * usual for height in heights["low"])
            fitting += sum(height > 1.2 * usual for height in heights["high"])
            total += len(heights["low"]) + len(heights["high"])
    return fitting / total if total else 1.0


def crop_words(
    page: PageText, line: Line, start: int, stop: int, height: float, rng: random.Random
) -> tuple[Image.Image, list[list]]:
    """The words ``start`` to ``stop`` of a line as they stand on the page; their neighbours never show.

    Args:
        height: pixels from the highest to the lowest ink of the whole line.

    Returns:
        The picture and its char boxes ``[c, x1, y1, x2, y2]`` in pixels.
    """
    before = (line[start][0].left - line[start - 1][-1].right) / 2 if start else 99.0
    after = (line[stop][0].left - line[stop - 1][-1].right) / 2 if stop < len(line) else 99.0
    return _cut(page, line[start:stop], height / _height(line), (before, after), rng)


def crop_lines(
    page: PageText, lines: Sequence[Line], height: float, rng: random.Random
) -> tuple[Image.Image, list[list]]:
    """A block found by ``flush_block``; ``height`` and the result are as in ``crop_words``, for its first line."""
    return _cut(page, [word for line in lines for word in line], height / _height(lines[0]), (99.0, 1.0), rng)


def flush_block(page: PageText, count: int, longest: int, rng: random.Random) -> list[Line] | None:
    """The first words of ``count`` neighbouring flush-left lines, such that one vertical cut goes between words in all.

    No line of the block is over ``longest`` characters. None if there is no such cut at the place that was drawn.
    """
    at = rng.randrange(len(page.lines))
    lines = page.lines[at : at + count]
    if len(lines) < count or not all(map(below, lines, lines[1:])):
        return None
    cuts = [(0.0, math.inf, [])]
    for line in lines:
        gaps = [
            (line[stop - 1][-1].right, line[stop][0].left if stop < len(line) else math.inf, line[:stop])
            for stop in range(1, min(len(line), longest // 2) + 1)
            if len(text_of(line[:stop])) <= longest
        ]
        cuts = [
            (max(low, left), min(high, right), [*chosen, words])
            for low, high, chosen in cuts
            for left, right, words in gaps
            if min(high, right) - max(low, left) > 2.0
        ]
    return rng.choice(cuts)[2] if cuts else None


def below(upper: Line, lower: Line) -> bool:
    """Whether a line stands flush under another, a usual line's distance apart."""
    gap = _bottom(upper) - _bottom(lower)
    return abs(upper[0][0].left - lower[0][0].left) < 2 and 0.8 * _height(upper) < gap < 2.4 * _height(upper)


def _bottom(line: Line) -> float:
    return min(glyph.bottom for word in line for glyph in word)


def _height(line: Line) -> float:
    return max(glyph.top for word in line for glyph in word) - _bottom(line)


def _cut(
    page: PageText, words: Sequence[Word], scale: float, room: tuple[float, float], rng: random.Random
) -> tuple[Image.Image, list[list]]:
    """Render the box of the words at ``scale`` pixels per point and continue its paper by a random margin.

    ``room`` is the empty space to the left and right in points.
    """
    handle = _page(page.path, page.number)
    glyphs = [glyph for word in words for glyph in word]
    page_left, page_bottom, page_right, page_top = handle.get_bbox()
    cut = (
        max(0.0, min(g.left for g in glyphs) - page_left - min(3.0 / scale, room[0])),
        max(0.0, min(g.bottom for g in glyphs) - page_bottom - 1.0 / scale),
        max(0.0, page_right - max(g.right for g in glyphs) - min(3.0 / scale, room[1])),
        max(0.0, page_top - max(g.top for g in glyphs) - 1.0 / scale),
    )
    picture = handle.render(scale=scale, crop=cut).to_pil().convert("RGB")
    pixels = np.asarray(picture)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = tuple(int(value) for value in np.median(edge, axis=0))
    left, right, top, bottom = (rng.randint(2, 6) for _ in range(4))
    left += max(0, 48 - picture.width - left - right) // 2
    top += max(0, 20 - picture.height - top - bottom) // 2
    canvas = Image.new("RGB", (max(48, picture.width + left + right), max(20, picture.height + top + bottom)), paper)
    canvas.paste(picture, (left, top))
    # pdfium rounds the cut up to whole pixels.
    x_origin, y_origin = left - math.ceil(cut[0] * scale), top - math.ceil(cut[3] * scale)
    boxes = [
        [
            g.char,
            round(x_origin + (g.left - page_left) * scale, 1),
            round(y_origin + (page_top - g.top) * scale, 1),
            round(x_origin + (g.right - page_left) * scale, 1),
            round(y_origin + (page_top - g.bottom) * scale, 1),
        ]
        for g in glyphs
    ]
    return canvas, boxes
