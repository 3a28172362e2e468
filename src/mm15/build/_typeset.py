"""Text on paper, with the exact box of every glyph.

A char box is ``[c, x1, y1, x2, y2]``: the bitmap the font draws for that character, in whole pixels of the picture,
spaces left out. ``x2`` and ``y2`` lie just past the last pixel.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mm15.base.rng import numpy_rng
from mm15.build.materials import Materials, Split

CharBox = list
Color = tuple[int, int, int]
Size = tuple[tuple[int, int], tuple[int, int]]
"""Ranges of a width and a height in pixels."""


@lru_cache(maxsize=8)
def typefaces(materials: Materials, split: Split) -> tuple[Path, ...]:
    """Font files of one side; the folder is listed once."""
    return tuple(materials.fonts(split))


@lru_cache(maxsize=1024)
def load_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A typeface at ``size`` pixels per em. Basic layout: the same glyph positions on every machine."""
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def fit_font(path: Path, size: int, texts: Sequence[str], width: int) -> ImageFont.FreeTypeFont:
    """The typeface at ``size``, or at the largest smaller size at which no text is wider than ``width`` pixels."""
    natural = max(map(load_font(path, size).getlength, texts))
    size = size if natural <= width else max(1, int(size * width / natural))
    # Hinting makes small sizes wider than their share.
    while size > 1 and max(map(load_font(path, size).getlength, texts)) > width:
        size -= 1
    return load_font(path, size)


def draw_text(
    image: Image.Image, text: str, x: int, baseline: int, font: ImageFont.FreeTypeFont, ink: Color, bold: bool = False
) -> list[CharBox]:
    """Draw one line with its pen at (x, baseline), struck twice one pixel apart if ``bold``. Returns the char boxes."""
    draw = ImageDraw.Draw(image)
    for shift in (0, 1) if bold else (0,):
        draw.text((x + shift, baseline), text, fill=ink, font=font, anchor="ls")
    boxes, pen = [], float(x)
    for char, following in zip(text, [*text[1:], ""], strict=True):
        glyph = None if char.isspace() else _glyph_box(font, char)
        if glyph is not None:
            left, top, right, bottom = glyph
            boxes.append(
                [char, math.floor(pen + left), baseline + top, math.ceil(pen + right) + bold, baseline + bottom]
            )
        pen += _advance(font, char + following) - (_advance(font, following) if following else 0.0)
    return boxes


@lru_cache(maxsize=1 << 17)
def _advance(font: ImageFont.FreeTypeFont, text: str) -> float:
    """Pixels the pen moves over one or two characters, kerning included."""
    return font.getlength(text)


@lru_cache(maxsize=1 << 16)
def _glyph_box(font: ImageFont.FreeTypeFont, char: str) -> tuple[int, int, int, int] | None:
    """Ink of one glyph around its pen position; ``getbbox`` would give the advance width instead."""
    mask, (left, top) = font.getmask2(char, mode="L", anchor="ls")
    ink = mask.getbbox()
    return None if ink is None else (left + ink[0], top + ink[1], left + ink[2], top + ink[3])


def colors(rng: random.Random, inverted: float = 0.08, tinted: float = 0.3) -> tuple[Color, Color]:
    """(ink, paper): black on white as documents mostly are, or tinted, or light on dark. Always legible."""
    if rng.random() < tinted:
        dark, light = _color(rng, 0, 95), _color(rng, 200, 255)
    else:
        black, white = rng.randint(0, 50), rng.randint(235, 255)
        dark, light = (black, black, black), (white, white, white)
    return (light, dark) if rng.random() < inverted else (dark, light)


def _color(rng: random.Random, low: int, high: int) -> Color:
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def sheet(
    lines: Sequence[tuple[str, ImageFont.FreeTypeFont]],
    rng: random.Random,
    gap: float = 1.0,
    least: Size = ((48, 48), (1, 1)),
) -> tuple[Image.Image, list[list[CharBox]]]:
    """Left-aligned lines on plain paper, cut to their size plus a random margin of 3-8 px.

    Args:
        lines: text and typeface of each line.
        gap: extra leading in pixels.
        least: ranges of the smallest width and height in pixels; more paper is added to the right and below.

    Returns:
        The picture and the char boxes of each line.
    """
    ink, paper = colors(rng)
    left, right, top, bottom = (rng.randint(3, 8) for _ in range(4))
    baselines, y = [], float(top)
    for _, font in lines:
        ascent, descent = font.getmetrics()
        baselines.append(round(y + ascent * 0.9))
        y += (ascent + descent) * 0.95 + gap
    width = math.ceil(max(font.getlength(text) for text, font in lines)) + left + right
    size = max(width, rng.randint(*least[0])), max(round(y) + bottom, rng.randint(*least[1]))
    image = Image.new("RGB", size, paper)
    boxes = [
        draw_text(image, text, left, baseline, font, ink)
        for (text, font), baseline in zip(lines, baselines, strict=True)
    ]
    return wear(image, rng), boxes


def fade(photo: Image.Image, rng: random.Random) -> tuple[Image.Image, Color]:
    """A photograph washed out until text can be read on it, and an ink that stands out."""
    bright = float(np.asarray(photo.convert("L")).mean()) > 127
    veil, ink = ((255, 255, 255), _color(rng, 0, 60)) if bright else ((0, 0, 0), _color(rng, 215, 255))
    return Image.blend(photo, Image.new("RGB", photo.size, veil), rng.uniform(0.4, 0.65)), ink


def wear(image: Image.Image, rng: random.Random) -> Image.Image:
    """What a camera or scanner adds: now and then a slight blur or noise. Never moves a pixel."""
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
    if rng.random() < 0.1:
        noise = numpy_rng(rng.getrandbits(60)).normal(0.0, rng.uniform(2.0, 6.0), (image.height, image.width, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image
