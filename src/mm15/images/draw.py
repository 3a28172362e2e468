"""Boxes and points drawn on a copy of a picture, for chat and reports."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from mm15.base.types import Point, Region

COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")
"""Well apart from each other, and dark enough for white letters."""


def draw_regions(
    image: Image.Image,
    regions: Sequence[Region],
    labels: Sequence[str] | None = None,
    colors: Sequence[str] = COLORS,
) -> Image.Image:
    """An RGB copy of the picture with regions drawn on it, clipped to its borders.

    Args:
        image: the original picture; its pixels are the unit of the regions.
        regions: what to draw. Their ``image`` number is not looked at.
        labels: one text per region, or none at all.
        colors: CSS colours, taken in turn.

    Raises:
        ValueError: another number of labels than of regions.
    """
    if labels is not None and len(labels) != len(regions):
        raise ValueError(f"{len(labels)} labels for {len(regions)} regions; give one per region")
    canvas = image.convert("RGB")
    draw = ImageDraw.Draw(canvas)
    stroke = max(1, round(max(canvas.size) / 300))
    font = ImageFont.load_default(size=max(10, 5 * stroke))
    for index, region in enumerate(regions):
        color = colors[index % len(colors)]
        left, top = _mark(draw, region, color, stroke)
        if labels is not None and labels[index]:
            _write(draw, labels[index], left, top, color, font)
    return canvas


def _mark(draw: ImageDraw.ImageDraw, region: Region, color: str, stroke: int) -> tuple[float, float]:
    """Draw one region; returns the corner where its label goes."""
    if isinstance(region, Point):
        radius = 3 * stroke
        draw.ellipse(
            (region.x - radius, region.y - radius, region.x + radius, region.y + radius),
            fill=color,
            outline="white",
            width=stroke,
        )
        return region.x + radius, region.y + radius
    last_x, last_y = draw.im.size[0] - 1, draw.im.size[1] - 1
    left, right = sorted(min(max(x, 0), last_x) for x in (region.x1, region.x2))
    top, bottom = sorted(min(max(y, 0), last_y) for y in (region.y1, region.y2))
    draw.rectangle((left, top, right, bottom), outline=color, width=stroke)
    return left, top


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    left: float,
    top: float,
    color: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """A label on a filled ground, pushed inside the picture."""
    x1, y1, x2, y2 = draw.textbbox((0, 0), text, font=font)
    x = min(max(left, 0), max(0, draw.im.size[0] - x2 - 2))
    y = min(max(top, 0), max(0, draw.im.size[1] - y2 - 2))
    draw.rectangle((x + x1, y + y1, x + x2 + 2, y + y2 + 2), fill=color)
    draw.text((x + 1, y + 1), text, fill="white", font=font)
