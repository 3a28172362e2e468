"""Bars, curves and histograms as inline SVG in the page's own colours. Coordinates: CSS pixels at the page's width."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from mm15.pages.html import Html, escape

COLOURS = 9
"""How many colours the page's style declares; further series start over."""

WIDTH = 760


def legend(names: Sequence[str]) -> Html:
    """Names beside their colours, in series order."""
    items = (f'<span><i style="background:{_colour(n)}"></i>{escape(name)}</span>' for n, name in enumerate(names))
    return Html(f'<div class="legend">{"".join(items)}</div>')


def bars(groups: Mapping[str, Sequence[float | None]], series: Sequence[str], maximum: float = 100.0) -> Html:
    """Groups of lying bars, one bar per series, with its value; None leaves the bar out and says so.

    Args:
        groups: label → one value per series.
        series: names for the legend, in the order of the values.
        maximum: the value of a full bar.

    Raises:
        ValueError: a group does not have one value per series.
    """
    left, bar, gap = 190, 13, 12
    plot = WIDTH - left - 60
    parts, y = [], 0
    for label, values in groups.items():
        if len(values) != len(series):
            raise ValueError(f"bars: group '{label}' has {len(values)} values for {len(series)} series")
        middle = y + len(series) * bar / 2
        parts.append(f'<text x="{left - 10}" y="{middle + 4:.0f}" text-anchor="end">{escape(label)}</text>')
        for number, value in enumerate(values):
            length = 0.0 if value is None else plot * min(max(value / maximum, 0.0), 1.0)
            shown = "missing" if value is None else f"{value:.1f}"
            parts.append(
                f'<rect x="{left}" y="{y + 1}" width="{length:.1f}" height="{bar - 2}" rx="2" fill="{_colour(number)}">'
                f"<title>{escape(f'{label}, {series[number]}: {shown}')}</title></rect>"
                f'<text class="quiet" x="{left + length + 6:.1f}" y="{y + bar - 3}">{shown}</text>'
            )
            y += bar
        y += gap
    frame = f'<line class="grid" x1="{left}" y1="0" x2="{left}" y2="{y}"/>'
    return Html(f"<figure>{legend(series)}{_svg(y, frame + ''.join(parts))}</figure>")


def radar(axes: Sequence[str], series: Mapping[str, Sequence[float | None]], maximum: float = 100.0) -> Html:
    """One closed line per series around a centre, one axis per name; a missing value leaves a gap in the line.

    Args:
        axes: at least three names, the first at the top, clockwise.
        series: label → one value per axis.
        maximum: the value at the outer ring.

    Raises:
        ValueError: fewer than three axes, or a series without one value per axis.
    """
    if len(axes) < 3 or any(len(values) != len(axes) for values in series.values()):
        raise ValueError(f"radar: {len(axes)} axes, and series of {[len(values) for values in series.values()]} values")
    radius, x0, y0 = 130.0, WIDTH / 2, 165.0

    def at(axis: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(axes)
        reach = radius * min(max(value / maximum, 0.0), 1.0)
        return x0 + reach * math.sin(angle), y0 - reach * math.cos(angle)

    def path(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        points = path(at(axis, ring * maximum) for axis in range(len(axes)))
        parts.append(f'<polygon class="grid" fill="none" points="{points}"/>')
        parts.append(f'<text class="quiet" x="{x0 + 3:.0f}" y="{y0 - ring * radius - 2:.0f}">{ring * maximum:g}</text>')
    for axis, name in enumerate(axes):
        x, y = at(axis, maximum)
        tx, ty = x + (x - x0) * 0.12, y + (y - y0) * 0.12
        anchor = "middle" if abs(x - x0) < 1 else "start" if x > x0 else "end"
        parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{tx:.1f}" y="{ty + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    for number, (label, values) in enumerate(series.items()):
        closed = [*enumerate(values), (0, values[0])]
        for (a, start), (b, end) in pairwise(closed):
            if start is not None and end is not None:
                line = path([at(a, start), at(b, end)])
                parts.append(f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="2" points="{line}"/>')
        for axis, value in enumerate(values):
            if value is not None:
                x, y = at(axis, value)
                told = escape(f"{axes[axis]}, {label}: {value:.1f}")
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_colour(number)}"><title>{told}</title></circle>'
                )
    return Html(f"<figure>{legend(list(series))}{_svg(y0 + radius + 35, ''.join(parts))}</figure>")


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str = "step",
    y_label: str = "loss",
    most_points: int = 160,
) -> Html:
    """Lines over a shared frame with ticks and a legend.

    Args:
        lines: name → points (x, y), x rising. Points that are not finite are left out; more than ``most_points`` are
            averaged in even runs, so that a long log stays a small page.
    """
    shown = {name: _thin([p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])], most_points)
             for name, points in lines.items()}  # fmt: skip
    everything = [point for points in shown.values() for point in points]
    if not everything:
        return Html('<p class="quiet">No points to draw.</p>')
    left, top, right, bottom, height = 56, 10, 14, 40, 260
    x_ticks = _ticks(min(x for x, _ in everything), max(x for x, _ in everything))
    y_ticks = _ticks(min(0.0, *(y for _, y in everything)), max(y for _, y in everything))

    def across(x: float) -> float:
        return left + (WIDTH - left - right) * (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])

    def down(y: float) -> float:
        return top + (height - top - bottom) * (y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0])

    parts = []
    for tick in y_ticks:
        parts.append(
            f'<line class="grid" x1="{left}" y1="{down(tick):.1f}" x2="{WIDTH - right}" y2="{down(tick):.1f}"/>'
        )
        parts.append(f'<text class="quiet" x="{left - 8}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        parts.append(
            f'<text class="quiet" x="{across(tick):.1f}" y="{height - 20}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(f'<text class="quiet" x="{WIDTH - right}" y="{height - 4}" text-anchor="end">{escape(x_label)}</text>')
    at_right = f'x="{WIDTH - right}" y="{top + 14}" text-anchor="end"'
    parts.append(f'<text class="quiet" {at_right}>{escape(y_label)}</text>')
    for number, (name, points) in enumerate(shown.items()):
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        style = f'fill="none" stroke="{_colour(number)}" stroke-width="{2 if number == 0 else 1.4}"'
        parts.append(f'<polyline points="{path}" {style}><title>{escape(name)}</title></polyline>')
    return Html(f'<figure class="curves">{legend(list(shown))}{_svg(height, "".join(parts))}</figure>')


def histogram(
    counts: Mapping[int, int] | Mapping[float, int],
    x_label: str,
    most_bars: int = 40,
    log: bool = False,
    colour: int = 0,
    width: int = 480,
) -> Html:
    """How often values occur: upright bars, their heights in percent of all.

    Args:
        counts: value → how often it occurs.
        most_bars: values are put together in even bins from here on; fewer whole numbers get a bar each.
        colour: number of the page's colour.
        width: in CSS px; two of the default stand side by side.
        log: bins of even ratio, for values above 0 (smaller ones count as the smallest above 0) with a long tail.
    """
    total = sum(counts.values())
    if not total:
        return Html('<p class="quiet">Nothing to count.</p>')
    edges = _bins(counts, most_bars, log)
    heights = [0] * (len(edges) - 1)
    for value, count in counts.items():
        heights[min(max(bisect.bisect_right(edges, value) - 1, 0), len(heights) - 1)] += count
    left, top, right, bottom, height = 56, 10, 14, 40, 170
    y_ticks = _ticks(0.0, 100 * max(heights) / total, 4)

    def across(x: float) -> float:
        first, last, x = (math.log(v) for v in (edges[0], edges[-1], x)) if log else (edges[0], edges[-1], x)
        return left + (width - left - right) * (x - first) / (last - first)

    def down(y: float) -> float:
        return top + (height - top - bottom) * (y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0])

    parts = []
    for tick in y_ticks:
        place = f'y1="{down(tick):.1f}" x2="{width - right}" y2="{down(tick):.1f}"'
        parts.append(f'<line class="grid" x1="{left}" {place}/>')
        parts.append(f'<text class="quiet" x="{left - 8}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:g} %</text>')
    whole = all(float(value).is_integer() for value in counts)
    for count, (low, high) in zip(heights, pairwise(edges), strict=True):
        share = 100 * count / total
        told = f"{_bin_name(low, high, whole)}: {count:,} ({share:.1f} %)"
        x, y, wide = across(low) + 0.5, down(share), max(across(high) - across(low) - 1, 1)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{down(0) - y:.1f}" fill="{_colour(colour)}">'
            f"<title>{told}</title></rect>"
        )
    ticks = _log_ticks(edges[0], edges[-1]) if log else _ticks(edges[0], edges[-1], 8)
    # A bar that is one whole number has it in its middle.
    single = whole and all(high - low == 1 for low, high in pairwise(edges))
    for tick in ticks:
        if edges[0] <= tick < edges[-1] and (not single or float(tick).is_integer()):
            x = across(tick + 0.5 if single else tick)
            parts.append(f'<text class="quiet" x="{x:.1f}" y="{height - 22}" text-anchor="middle">{tick:,g}</text>')
    parts.append(f'<text class="quiet" x="{width - right}" y="{height - 4}" text-anchor="end">{escape(x_label)}</text>')
    return Html(f"<figure>{_svg(height, ''.join(parts), width)}</figure>")


def _bins(counts: Mapping[int, int] | Mapping[float, int], most: int, log: bool) -> list[float]:
    """Rising edges of at least one bin that hold every value."""
    low, high = float(min(counts)), float(max(counts))
    whole = all(float(value).is_integer() for value in counts)
    if log:
        low = float(min((value for value in counts if value > 0), default=1))
        high = max(high, low) + 1 if whole else max(high, low) * 1.001
        # Whole numbers close together would leave empty bins between them.
        edges = [low * (high / low) ** (number / most) for number in range(most + 1)]
        return sorted({low, high, *(float(round(edge)) for edge in edges)}) if whole else edges
    if whole and high - low < most:
        return [low + number for number in range(int(high - low) + 2)]
    width = (high - low) / most or 1.0
    if whole:
        width = float(math.ceil(width))
        most = int((high - low) // width) + 1
    return [low + number * width for number in range(most + 1)] if high > low else [low, low + width]


def _bin_name(low: float, high: float, whole: bool) -> str:
    if not whole:
        return f"{low:,.3g} to {high:,.3g}"
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first:,}" if first >= last else f"{first:,} to {last:,}"


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers alone where that would crowd."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 5 else (1,)
    return [factor * 10.0**power for power in powers for factor in factors]


def _svg(height: float, body: str, width: int = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" role="img">{body}</svg>'


def _colour(number: int) -> str:
    return f"var(--c{number % COLOURS})"


def _thin(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    run = math.ceil(len(points) / most) if points else 1
    chunks = [points[start : start + run] for start in range(0, len(points), run)]
    return [(sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def _ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at or below ``low`` to at or above ``high``."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= about)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(first, last + 1)]
