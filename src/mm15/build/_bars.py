"""Small bar charts. Bars share one random color or have one each; labels stand below, numbers above."""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from mm15.build._typeset import CharBox, Color, colors, draw_text


def vivid(rng: random.Random, paper: Color) -> Color:
    """A saturated color that stands out on the paper."""
    bright = sum(paper) < 384
    value = rng.uniform(0.85, 1.0) if bright else rng.uniform(0.5, 0.8)
    saturation = rng.uniform(0.5, 0.8) if bright else rng.uniform(0.7, 1.0)
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def bar_chart(
    labels: Sequence[str],
    values: Sequence[float],
    font: ImageFont.FreeTypeFont,
    rng: random.Random,
    *,
    numbers: bool = False,
    grid: bool = False,
    max_width: int = 126,
) -> tuple[Image.Image, list[CharBox]]:
    """Draw one bar per value, heights in proportion to the values.

    Args:
        labels: texts below the bars; empty strings for none.
        values: positive numbers.
        numbers: write each value above its bar.
        grid: a thin line at every whole number up to the largest value.
        max_width: widest picture in pixels.

    Returns:
        The picture, at most ``max_width`` px wide, and the char boxes of all its text.

    Raises:
        ValueError: the labels do not fit into ``max_width``.
    """
    texts = [str(value) for value in values] if numbers else []
    widest = max(font.getlength(text) for text in [*labels, *texts, "0"])
    slot = math.ceil(widest) + 5
    if slot * len(values) + 8 > max_width:
        raise ValueError(f"labels {list(labels)} need {slot * len(values) + 8} px, more than {max_width}")
    slot += rng.randint(0, max(0, min(12, (max_width - 8) // len(values) - slot)))
    slot = max(slot, 14)
    ink, paper = colors(rng)
    ascent, descent = font.getmetrics()
    above = ascent + 3 if numbers else 4
    below = ascent + descent + 1 if any(labels) else 4
    width = slot * len(values) + 8
    # Nearly as high as wide: such pictures are split 1 × 1 or 2 × 2, with little padding.
    tallest = max(16, round(width * rng.uniform(0.7, 0.95)) - above - below)
    image = Image.new("RGB", (width, above + tallest + below), paper)
    draw = ImageDraw.Draw(image)
    base = above + tallest
    if grid:
        faint = tuple((2 * p + i) // 3 for p, i in zip(paper, ink, strict=True))
        for level in range(1, math.ceil(max(values)) + 1):
            y = base - round(tallest * level / max(values))
            draw.line((3, y, image.width - 4, y), fill=faint)
    shared = vivid(rng, paper) if rng.random() < 0.5 else None
    inset = rng.randint(2, max(2, slot // 5))
    chars: list[CharBox] = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = 4 + index * slot
        top = base - max(1, round(tallest * value / max(values)))
        draw.rectangle((x + inset, top, x + slot - inset - 1, base - 1), fill=shared or vivid(rng, paper))
        if numbers:
            chars += _centered(image, texts[index], x, slot, top - 3, font, ink)
        chars += _centered(image, label, x, slot, base + ascent, font, ink)
    draw.line((3, base, image.width - 4, base), fill=ink)
    return image, chars


def _centered(
    image: Image.Image, text: str, x: int, slot: int, baseline: int, font: ImageFont.FreeTypeFont, ink: Color
) -> list[CharBox]:
    return draw_text(image, text, x + round((slot - font.getlength(text)) / 2), baseline, font, ink) if text else []
