"""Pages of a PDF as blocks of text and figures in reading order. What repeats on page after page is left out.

Figures are pictures and drawings: what is painted on the page and is not text, clustered, and hardly any text in it (a
ruled table or a shaded listing is none). Labels inside a figure belong to its picture.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm15.base.errors import SkipSample
from mm15.build._manuals import Block, Figure
from mm15.build._page_parts import Parts, Rect, plain
from mm15.build._pdf import Line, below, page_handle, pdfium_error, read_page, text_of
from mm15.text.legible import SOFT_HYPHENS

CELL = 4.0
"""Side in points of the cells that drawings are clustered in."""
LEAST = (60.0, 40.0)
"""Points that a figure is wide and high at least."""
MOST = 0.8
"""Share of the page that a figure covers at most."""
MAX_WORDS = 30
NO_PLACE = "an object on a page that cannot be placed"
"""Why what may be a part of a figure is left out."""
NEAR, LABEL = 6.0, 24
"""Texts of at most so many characters, at most so many points away, belong to a figure."""
CAPTION = re.compile(r"(?:Figure|Fig\.|Illustration|Diagram|Chart)\s*[\dA-Z][\d.-]*\s*[:.]?\s*\S")


def read_pages(path: Path, pages: Sequence[int], size: int) -> tuple[list[Block], list[tuple[str, str]]]:
    """The blocks of neighbouring pages, and what was left out, pages and single objects, as (reason, address).

    Args:
        size: longest side of a figure's picture in pixels, at most.
    """
    read: list[tuple[Parts, list[Rect]]] = []
    dropped: list[tuple[str, str]] = []
    for page in pages:
        try:
            parts = Parts(read_page(path, page))
        except SkipSample as skip:
            dropped.append((skip.reason, f"{path}#{page}"))
            continue
        found, lost = figure_boxes(parts)
        read.append((parts, found))
        dropped += [(NO_PLACE, f"{path}#{page}")] * lost
    lines = Counter(_mark(parts, line) for parts, _ in read for line in parts.lines)
    boxes = Counter(_rounded(box) for _, found in read for box in found)
    repeated = max(2, round(0.5 * len(read)))
    blocks: list[Block] = []
    for parts, found in read:
        kept = [line for line in parts.lines if lines[_mark(parts, line)] < repeated and not _is_number(parts, line)]
        figures = [box for box in found if boxes[_rounded(box)] < repeated]
        blocks += _page_blocks(parts, kept, figures, size)
    return blocks, dropped


def _mark(parts: Parts, line: Line) -> tuple[str, int]:
    """What a running head has in common from page to page."""
    return re.sub(r"\d+", "#", plain(line)), round(parts.box(line)[1] / 4)


def _rounded(box: Rect) -> tuple[int, ...]:
    return tuple(round(edge / 4) for edge in box)


def _is_number(parts: Parts, line: Line) -> bool:
    """A page number: digits at the very top or bottom."""
    _, y1, _, y2 = parts.box(line)
    return plain(line).isdigit() and (y2 < 0.1 * parts.size[1] or y1 > 0.9 * parts.size[1])


def figure_boxes(parts: Parts) -> tuple[list[Rect], int]:
    """Boxes of the figures of a page, top to bottom, and how many objects were left out as pdfium cannot place them."""
    lost = 0
    left, _, _, top = parts.frame
    width, height = parts.size
    grid = np.zeros((int(height / CELL) + 2, int(width / CELL) + 2), bool)
    for item in page_handle(parts.page).get_objects(max_depth=1):
        if item.type == 1:  # text
            continue
        try:
            x1, y1, x2, y2 = item.get_bounds()
        except pdfium_error():
            lost += 1
            continue
        x1, x2, y1, y2 = max(0.0, x1 - left), min(width, x2 - left), max(0.0, top - y2), min(height, top - y1)
        if x1 > x2 or y1 > y2 or (x2 - x1) * (y2 - y1) > MOST * width * height:
            continue
        if x2 - x1 > 0.6 * width and y2 - y1 < 3:
            continue  # a rule
        grid[int(y1 / CELL) : int(y2 / CELL) + 1, int(x1 / CELL) : int(x2 / CELL) + 1] = True
    found = []
    for x1, y1, x2, y2 in _clusters(grid):
        box = _with_labels(parts, (x1 * CELL, y1 * CELL, min(width, x2 * CELL), min(height, y2 * CELL)))
        words = sum(_inside(parts.box(line), box) * len(line) for line in parts.lines)
        big_enough = box[2] - box[0] >= LEAST[0] and box[3] - box[1] >= LEAST[1]
        text = sum(_area(parts.box(line)) for line in parts.lines if _inside(parts.box(line), box))
        if big_enough and words <= MAX_WORDS and text < 0.15 * _area(box):
            found.append(box)
    return sorted(found, key=lambda box: (box[1], box[0])), lost


def _with_labels(parts: Parts, box: Rect) -> Rect:
    """The box with the short texts that stand close to it."""
    for _ in range(2):
        for line in parts.lines:
            a, b, c, d = parts.box(line)
            near = a < box[2] + NEAR and box[0] - NEAR < c and b < box[3] + NEAR and box[1] - NEAR < d
            if near and len(text_of(line)) <= LABEL:
                box = (min(box[0], a), min(box[1], b), max(box[2], c), max(box[3], d))
    return box


def _clusters(grid: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Boxes of connected cells; cells one apart are connected."""
    wide = grid.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            wide |= np.roll(grid, step, axis)
    seen = np.zeros_like(wide)
    boxes = []
    for y, x in zip(*np.nonzero(wide), strict=True):
        if seen[y, x]:
            continue
        stack, members = [(int(y), int(x))], []
        seen[y, x] = True
        while stack:
            at = stack.pop()
            members.append(at)
            for near in ((at[0] - 1, at[1]), (at[0] + 1, at[1]), (at[0], at[1] - 1), (at[0], at[1] + 1)):
                inside = 0 <= near[0] < wide.shape[0] and 0 <= near[1] < wide.shape[1]
                if inside and wide[near] and not seen[near]:
                    seen[near] = True
                    stack.append(near)
        real = [place for place in members if grid[place]]
        if real:
            ys, xs = zip(*real, strict=True)
            boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return boxes


def _inside(inner: Rect, outer: Rect) -> bool:
    """Whether the middle of one box lies in another."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _area(box: Rect) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _page_blocks(parts: Parts, lines: Sequence[Line], figures: Sequence[Rect], size: int) -> list[Block]:
    lines = [line for line in lines if not any(_inside(parts.box(line), box) for box in figures)]
    waiting = list(figures)
    captions = {box: _caption(parts, box, lines) for box in figures}
    shared = Counter(captions.values())
    blocks: list[Block] = []
    group: list[Line] = []
    for line in [*lines, None]:
        due = [box for box in waiting if line is None or _above(box, parts.box(line))]
        if group and (line is None or due or not below(group[-1], line)):
            blocks.append(prose(group))
            group = []
        for box in due:
            # A caption between several figures is that of all of them.
            blocks.append(_draw(parts, box, size, captions[box] if shared[captions[box]] == 1 else ""))
            waiting.remove(box)
        if line is not None:
            group.append(line)
    return [block for block in blocks if not isinstance(block, str) or sum(map(str.isalnum, block)) >= 3]


def _above(figure: Rect, line: Rect) -> bool:
    """Whether a line stands under a figure, in its column."""
    return line[1] >= (figure[1] + figure[3]) / 2 and line[0] < figure[2] and figure[0] < line[2]


def _caption(parts: Parts, figure: Rect, lines: Sequence[Line]) -> str:
    """The line "Figure 3: ..." within an inch below or above a figure."""
    for line in lines:
        _, y1, _, y2 = parts.box(line)
        if CAPTION.match(plain(line)) and (0 <= y1 - figure[3] < 72 or 0 <= figure[1] - y2 < 36):
            return plain(line)
    return ""


def prose(lines: Sequence[Line]) -> str:
    """Lines of a paragraph as running text: words that a soft hyphen breaks are whole again."""
    text = ""
    for line in lines:
        text += text_of(line)
        text = text[:-1] if text[-1:] in SOFT_HYPHENS else f"{text} "
    whole = "".join(char for char in text if char.isprintable())
    return " ".join(whole.split())


def _draw(parts: Parts, box: Rect, size: int, caption: str) -> Figure:
    width, height = parts.size
    x1, y1, x2, y2 = box
    scale = min(size / max(x2 - x1 + 4, y2 - y1 + 4), 3.0)
    cut = (max(0.0, x1 - 2), max(0.0, height - y2 - 2), max(0.0, width - x2 - 2), max(0.0, y1 - 2))
    picture = page_handle(parts.page).render(scale=scale, crop=cut).to_pil().convert("RGB")
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=6)
    return Figure(data.getvalue(), picture.width, picture.height, f"page {parts.page.number}", caption)
