"""A picture with boxes, points and lines over it: the picture as a ``data:`` address, the marks as SVG above it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from mm15.pages.html import Content, Html, content, escape

THUMBNAIL = 48
"""Longer side in px below which no picture is shrunk."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something drawn on a picture, in pixels of that picture. A point has x1 = x2 and y1 = y2."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str = ""
    colour: str = "#ff3b30"
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A thin line across a picture, in its pixels: the border of a tile."""

    x1: float
    y1: float
    x2: float
    y2: float


def border_lines(width: float, height: float, across: Sequence[float], down: Sequence[float]) -> list[Line]:
    """Lines through a picture at these x and y: the borders of its tiles."""
    return [Line(x, 0, x, height) for x in across] + [Line(0, y, width, y) for y in down]


def picture(
    image: Image.Image,
    marks: Sequence[Mark] = (),
    lines: Sequence[Line] = (),
    caption: Content = "",
    side: int = 320,
    max_bytes: int = 0,
) -> Html:
    """The picture with its marks and a caption, shown so that its longer side takes ``side`` CSS pixels.

    A larger picture is shrunk to twice that before it is put into the page. Marks keep the coordinates of the picture
    as given; the SVG view box does the scaling.

    Args:
        max_bytes: the picture in the page is shrunk further until it takes no more (above 0; a thumbnail always stays).
    """
    width, height = image.size
    shown = side / max(width, height)
    data = _jpeg(image, min(1.0, 2 * shown), max_bytes)
    address = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    font = 13 / shown
    parts = [f'<image href="{address}" width="{width}" height="{height}" preserveAspectRatio="none"/>']
    for line in lines:
        parts.append(
            f'<line x1="{line.x1:.1f}" y1="{line.y1:.1f}" x2="{line.x2:.1f}" y2="{line.y2:.1f}" class="tile" '
            'vector-effect="non-scaling-stroke"/>'
        )
    parts += [_mark(mark, width, font) for mark in marks]
    svg = f'<svg viewBox="0 0 {width} {height}" width="{width * shown:.0f}" role="img">{"".join(parts)}</svg>'
    below = f"<figcaption>{content(caption)}</figcaption>" if caption else ""
    return Html(f'<figure tabindex="0">{svg}{below}</figure>')


def _jpeg(image: Image.Image, scale: float, max_bytes: int) -> bytes:
    """The picture at a scale, or smaller where that is more than ``max_bytes`` (0: no limit)."""
    width, height = image.size
    rgb = image.convert("RGB")
    while True:
        small = rgb
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = rgb.resize(size, Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.save(file, "JPEG", quality=88, subsampling=0)
        data = file.getvalue()
        if not 0 < max_bytes < len(data) or max(small.size) <= THUMBNAIL:
            return data
        scale = max(scale * min(0.9, (max_bytes / len(data)) ** 0.5), THUMBNAIL / max(width, height))


def _mark(mark: Mark, width: int, font: float) -> str:
    # Around something small a thick line would hide what it names.
    small = min(mark.x2 - mark.x1, mark.y2 - mark.y1) < font
    weight = 1.2 if small else 2.5
    style = f'stroke="{escape(mark.colour)}" stroke-width="{weight}" vector-effect="non-scaling-stroke"'
    if mark.dashed:
        style += ' stroke-dasharray="6 4"'
    if mark.x1 == mark.x2 and mark.y1 == mark.y2:
        shape = f'<circle cx="{mark.x1:.1f}" cy="{mark.y1:.1f}" r="{font / 3:.1f}" fill="{escape(mark.colour)}"/>'
    else:
        shape = (
            f'<rect x="{mark.x1:.1f}" y="{mark.y1:.1f}" width="{max(0.0, mark.x2 - mark.x1):.1f}" '
            f'height="{max(0.0, mark.y2 - mark.y1):.1f}" fill="none" {style}/>'
        )
    if not mark.label:
        return shape
    # Above the box where there is room, else inside it; ending at the right edge where it would run out.
    y = mark.y1 - font * 0.35 if mark.y1 > font * 1.4 else mark.y1 + font * 1.1
    length = 0.62 * font * len(mark.label)
    at_right = mark.x1 + length > width and mark.x2 > length
    middle = mark.x1 + length > width and not at_right
    x, anchor = (mark.x2, "end") if at_right else (max(0.0, width - length), "start") if middle else (mark.x1, "start")
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    look = (
        f"font-size:{font:.1f}px;fill:{escape(mark.colour)};stroke:#fff;stroke-width:{font / 4:.1f}px;"
        "paint-order:stroke;font-weight:600"
    )
    return f'{shape}<text {place} style="{look}">{escape(mark.label)}</text>'
