"""Charts and tables drawn at any size, with the exact place of every bar, point, cell and character.

Places are whole pixels (x1, y1, x2, y2) of the picture, x2 and y2 just past the last pixel.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from mm15.build._csv_tables import Series
from mm15.build._typeset import CharBox, Color, colors, draw_text, load_font

Kind = Literal["bar", "barh", "line"]
PALETTE: tuple[Color, ...] = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (23, 190, 207),
)
FINE = 2
"""Lines and bars are drawn so many times larger and scaled down."""


class DoesNotFit(Exception):
    """This draw of size, typeface and data makes no good picture: draw again."""


@dataclass(slots=True)
class Drawn:
    """A picture and what stands where in it."""

    image: Image.Image
    chars: list[CharBox] = field(default_factory=list)
    marks: list[dict] = field(default_factory=list)
    """``{"label", "series", "box", "color"}`` of every bar or point; of a table ``{"row", "column", "box"}``."""
    colors: dict[str, str] = field(default_factory=dict)
    """Series → its color as #rrggbb."""


def nice_ticks(low: float, high: float) -> list[Decimal]:
    """Four to eleven round numbers that reach from ``low`` or lower to ``high`` or higher, with 0 between them."""
    low, high = min(low, 0.0), max(high, 0.0)
    rough = (high - low) / 5
    power = Decimal(10) ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if float(power * factor) >= rough)
    first, last = math.floor(low / float(step)), math.ceil(high / float(step))
    return [step * number for number in range(first, last + 1)]


def plot(series: Series, kind: Kind, size: int, font_path: Path, rng: random.Random, numbers: bool) -> Drawn:
    """A chart of all columns of a series.

    Args:
        size: longest side of the picture in pixels.
        numbers: every value stands at its bar or point.

    Raises:
        DoesNotFit: labels, values or names do not fit, or a bar is too small to be seen.
    """
    width = round(size * rng.uniform(0.85, 1.0))
    height = round(width * rng.uniform(0.6, 0.9))
    if kind == "barh":
        width, height = (height, width) if rng.random() < 0.5 else (width, height)
    font = load_font(font_path, max(9, round(size / rng.uniform(28, 36))))
    big = load_font(font_path, round(font.size * 1.25))
    ink, paper = colors(rng, inverted=0.05, tinted=0.15)
    shift = rng.randrange(len(PALETTE))
    tints = {name: PALETTE[(shift + place) % len(PALETTE)] for place, name in enumerate(series.values)}
    frame = _Frame(series, kind, width, height, font, big)
    canvas = Image.new("RGB", (width * FINE, height * FINE), paper)
    marks = frame.shapes(ImageDraw.Draw(canvas), ink, paper, tints, rng.random() < 0.7)
    drawn = Drawn(canvas.resize((width, height), Image.Resampling.BOX), marks=marks)
    drawn.colors = {name: "#{:02x}{:02x}{:02x}".format(*tint) for name, tint in tints.items()}
    for text, x, baseline, shape in frame.texts(numbers, marks):
        drawn.chars += draw_text(drawn.image, text, x, baseline, shape, ink)
    return drawn


class _Frame:
    """Where everything of a chart goes."""

    def __init__(
        self,
        series: Series,
        kind: Kind,
        width: int,
        height: int,
        font: ImageFont.FreeTypeFont,
        big: ImageFont.FreeTypeFont,
    ) -> None:
        self.series, self.kind, self.font, self.big = series, kind, font, big
        self.width, self.height = width, height
        cells = [float(cell) for column in series.values.values() for cell in column]
        self.ticks = nice_ticks(min(cells), max(cells))
        self.line = sum(font.getmetrics())
        legend = len(series.values) > 1
        value_texts = [_shown(tick) for tick in self.ticks]
        side_texts = series.labels if kind == "barh" else value_texts
        below_texts = value_texts if kind == "barh" else series.labels
        self.left = 10 + math.ceil(max(map(font.getlength, side_texts)))
        self.right = width - 8 - math.ceil(max(map(font.getlength, below_texts)) / 2)
        self.top = 8 + round(sum(big.getmetrics()) * 1.15) + (self.line if legend else 0) + self.line
        self.bottom = height - 8 - 2 * self.line - 4
        names = [series.label_name, *series.values]
        if self.right - self.left < 40 or self.bottom - self.top < 40:
            raise DoesNotFit("no room for the plot")
        if big.getlength(series.title) > width - 16 or sum(map(font.getlength, names)) + 40 * len(names) > width:
            raise DoesNotFit("title or names are too long")
        along = self.bottom - self.top if kind == "barh" else self.right - self.left
        self.slot = along / len(series.labels)
        needed = self.line * 1.05 if kind == "barh" else max(map(font.getlength, series.labels)) + 6
        if needed > self.slot or self.slot / len(series.values) < 5:
            raise DoesNotFit("labels do not fit")

    def at(self, value: float) -> float:
        """Place of a value along its axis, in pixels."""
        low, high = float(self.ticks[0]), float(self.ticks[-1])
        share = (value - low) / (high - low)
        if self.kind == "barh":
            return self.left + share * (self.right - self.left)
        return self.bottom - share * (self.bottom - self.top)

    def middle(self, place: int) -> float:
        """Middle of a label's slot."""
        return (self.top if self.kind == "barh" else self.left) + (place + 0.5) * self.slot

    def shapes(
        self, draw: ImageDraw.ImageDraw, ink: Color, paper: Color, tints: dict[str, Color], grid: bool
    ) -> list[dict]:
        """Draw axes and bars or lines; returns the marks."""
        faint = tuple((4 * p + i) // 5 for p, i in zip(paper, ink, strict=True))
        for tick in self.ticks if grid else []:
            self._segment(draw, self.at(float(tick)), faint)
        marks = self._lines(draw, tints) if self.kind == "line" else self._bars(draw, tints)
        self._segment(draw, self.at(0.0), ink)
        edge = [self.left, self.top, self.left, self.bottom]
        draw.line([FINE * value for value in edge], fill=ink, width=FINE)
        if len(tints) > 1:
            for name, x, _ in self._legend():
                y = 8 + round(sum(self.big.getmetrics()) * 1.15) + self.line // 4
                side = self.line // 2
                draw.rectangle([FINE * v for v in (x - side - 4, y, x - 4, y + side)], fill=tints[name])
        return marks

    def _segment(self, draw: ImageDraw.ImageDraw, at: float, fill: tuple[int, ...]) -> None:
        place = (at, self.top, at, self.bottom) if self.kind == "barh" else (self.left, at, self.right, at)
        draw.line([round(FINE * value) for value in place], fill=fill, width=FINE)

    def _bars(self, draw: ImageDraw.ImageDraw, tints: dict[str, Color]) -> list[dict]:
        marks = []
        thick = max(3, int(self.slot * 0.75 / len(tints)))
        for place, label in enumerate(self.series.labels):
            for number, (name, tint) in enumerate(tints.items()):
                value = float(self.series.values[name][place])
                near = round(self.middle(place) + (number - len(tints) / 2) * thick)
                ends = sorted((round(self.at(0.0)), round(self.at(value))))
                if self.kind == "barh":
                    box = (ends[0], near, ends[1], near + thick)
                else:
                    box = (near, ends[0], near + thick, ends[1])
                if ends[1] - ends[0] < 3:
                    raise DoesNotFit("a bar that is too small to be seen")
                x1, y1, x2, y2 = (FINE * value for value in box)
                draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=tint)
                marks.append({"label": label, "series": name, "box": list(box), "color": list(tint)})
        return marks

    def _lines(self, draw: ImageDraw.ImageDraw, tints: dict[str, Color]) -> list[dict]:
        marks = []
        reach = max(2, round(self.font.size / 5))
        for name, tint in tints.items():
            points = [
                (round(self.middle(place)), round(self.at(float(cell))))
                for place, cell in enumerate(self.series.values[name])
            ]
            draw.line([(FINE * x, FINE * y) for x, y in points], fill=tint, width=2 * FINE, joint="curve")
            for label, (x, y) in zip(self.series.labels, points, strict=True):
                box = (x - reach, y - reach, x + reach, y + reach)
                x1, y1, x2, y2 = (FINE * value for value in box)
                draw.ellipse((x1, y1, x2 - 1, y2 - 1), fill=tint)
                marks.append({"label": label, "series": name, "box": list(box), "color": list(tint)})
        return marks

    def _legend(self) -> list[tuple[str, int, int]]:
        """(name, x, baseline) of every entry."""
        entries, x = [], self.left + self.line
        for name in self.series.values:
            baseline = 8 + round(sum(self.big.getmetrics()) * 1.15) + self.font.getmetrics()[0]
            entries.append((name, x, baseline))
            x += math.ceil(self.font.getlength(name)) + 2 * self.line
        return entries

    def texts(self, numbers: bool, marks: Sequence[dict]) -> list[tuple[str, int, int, ImageFont.FreeTypeFont]]:
        """(text, x, baseline, font) of everything written.

        Raises:
            DoesNotFit: the values at neighbouring bars would touch.
        """
        font, ascent = self.font, self.font.getmetrics()[0]
        start = max(8, round((self.width - self.big.getlength(self.series.title)) / 2))
        found = [(self.series.title, start, 8 + self.big.getmetrics()[0], self.big)]
        horizontal = self.kind == "barh"
        named = self.series.label_name if not horizontal else self._value_name()
        x = round((self.left + self.right - font.getlength(named)) / 2)
        found.append((named, max(4, x), self.height - 6 - font.getmetrics()[1], font))
        aside = self._value_name() if not horizontal else self.series.label_name
        found.append((aside, 6, self.top - self.line + ascent - 3, font))
        below = self.bottom + 4 + ascent
        for tick in self.ticks:
            text, at = _shown(tick), self.at(float(tick))
            if horizontal:
                found.append((text, round(at - font.getlength(text) / 2), below, font))
            else:
                found.append((text, round(self.left - 5 - font.getlength(text)), round(at + ascent / 2 - 1), font))
        for place, label in enumerate(self.series.labels):
            at = self.middle(place)
            if horizontal:
                found.append((label, round(self.left - 5 - font.getlength(label)), round(at + ascent / 2 - 1), font))
            else:
                found.append((label, round(at - font.getlength(label) / 2), below, font))
        if len(self.series.values) > 1:
            found += [(name, x, baseline, font) for name, x, baseline in self._legend()]
        found += self._numbers(marks) if numbers else []
        # Several series have no common name: the legend names them.
        return [one for one in found if one[0]]

    def _value_name(self) -> str:
        return next(iter(self.series.values)) if len(self.series.values) == 1 else ""

    def _numbers(self, marks: Sequence[dict]) -> list[tuple[str, int, int, ImageFont.FreeTypeFont]]:
        font, ascent = self.font, self.font.getmetrics()[0]
        found = []
        taken: list[tuple[float, float, float, float]] = []
        for mark in marks:
            cell = self.series.values[mark["series"]][self.series.labels.index(mark["label"])]
            x1, y1, x2, y2 = mark["box"]
            long = font.getlength(cell)
            if self.kind == "barh":
                x, baseline = x2 + 3, round((y1 + y2 + ascent) / 2 - 1)
            else:
                x, baseline = round((x1 + x2 - long) / 2), y1 - 3
            box = (x - 2, baseline - ascent, x + long + 2, baseline + 2)
            touching = any(box[0] < c and a < box[2] and box[1] < d and b < box[3] for a, b, c, d in taken)
            if touching or x < 2 or box[2] > self.width or Decimal(cell) < 0:
                raise DoesNotFit("values do not fit")
            taken.append(box)
            found.append((cell, x, baseline, font))
        return found


def _shown(tick: Decimal) -> str:
    text = f"{tick:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def draw_cells(cells: Sequence[Sequence[str]], size: int, font_path: Path, rng: random.Random) -> Drawn:
    """A table with a head row, columns as wide as they need.

    Raises:
        DoesNotFit: wider or higher than ``size`` pixels.
    """
    font = load_font(font_path, max(9, round(size / rng.uniform(26, 40))))
    ink, paper = colors(rng, inverted=0.05)
    ascent, descent = font.getmetrics()
    high = ascent + descent + rng.randint(2, max(3, round(font.size)))
    pad = rng.randint(4, round(font.size))
    widths = [math.ceil(max(map(font.getlength, column))) + 2 * pad for column in zip(*cells, strict=True)]
    width, height = sum(widths) + 9, high * len(cells) + 9
    if width > size or height > size:
        raise DoesNotFit("the table does not fit")
    drawn = Drawn(Image.new("RGB", (width, height), paper))
    draw = ImageDraw.Draw(drawn.image)
    faint = tuple((p + i) // 2 for p, i in zip(paper, ink, strict=True))
    if rng.random() < 0.4:
        shade = tuple((7 * p + i) // 8 for p, i in zip(paper, ink, strict=True))
        draw.rectangle((4, 4, width - 5, 4 + high), fill=shade)
    for edge in range(len(cells) + 1) if rng.random() < 0.6 else (0, 1, len(cells)):
        draw.line((4, 4 + edge * high, width - 5, 4 + edge * high), fill=faint)
    lefts = [4 + sum(widths[:column]) for column in range(len(widths))]
    if rng.random() < 0.5:
        for x in [*lefts, width - 5]:
            draw.line((x, 4, x, 4 + high * len(cells)), fill=faint)
    for row, texts in enumerate(cells):
        baseline = 4 + row * high + (high + ascent - descent) // 2
        for column, text in enumerate(texts):
            drawn.chars += draw_text(drawn.image, text, lefts[column] + pad, baseline, font, ink)
            box = [lefts[column], 4 + row * high, lefts[column] + widths[column], 4 + (row + 1) * high]
            drawn.marks.append({"row": row, "column": column, "box": box})
    return drawn
