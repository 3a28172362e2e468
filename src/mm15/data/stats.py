"""What is in data sets, from sizes alone: samples, pictures, tiles, tokens, and how lengths and resolutions spread.

Nothing is decoded: tiles follow from picture sizes (from the row, or the picture's header), tokens from the text. The
walk is the processor's own, so the numbers are what training would see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mm15.base.errors import SkipSample
from mm15.data.costs import over_rows
from mm15.data.source import Source
from mm15.dist.map import ALL_CORES, Engine
from mm15.pages.charts import bars, histogram
from mm15.pages.html import Content, Html, Page, Section, bullets, folded, paragraph, row, table
from mm15.processor import Processor

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "max": 1.0}
SKIPS_SHOWN = 5
SPREADS = {
    "tokens": "tokens of a sample",
    "supervised": "supervised tokens of a sample",
    "pictures": "pictures of a sample",
    "tiles": "tiles of a sample",
    "longer_side": "longer side of a picture, px",
    "shorter_side": "shorter side of a picture, px",
    "aspect": "width / height of a picture",
}
"""What is counted value by value, and what its axis says."""
TITLES = ("source", "category", "samples", "unusable", "pictures", "tiles", "text tokens", "supervised tokens")
WIDE = 20
"""Largest over smallest value from which an axis is one of ratios."""


@dataclass
class Counts:
    """What was counted in some samples; may be added up."""

    samples: int = 0
    """Those that can be used."""
    unusable: int = 0
    images: int = 0
    tiles: int = 0
    tokens: int = 0
    text_tokens: int = 0
    """All tokens but those of pictures: what was written, the template, and what announces sub-images."""
    supervised_tokens: int = 0
    spreads: dict[str, Counter] = field(default_factory=lambda: {name: Counter() for name in SPREADS})
    """Name of ``SPREADS`` → value → how often."""
    skips: list[str] = field(default_factory=list)
    """The first few that cannot be used, with address and reason."""

    def add(self, other: Counts) -> None:
        """Put what was counted elsewhere to this."""
        for name in ("samples", "unusable", "images", "tiles", "tokens", "text_tokens", "supervised_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, counter in other.spreads.items():
            self.spreads[name].update(counter)
        self.skips = [*self.skips, *other.skips][:SKIPS_SHOWN]

    def values(self) -> dict[str, Any]:
        """As plain values; of every spread the mean and some quantiles."""
        plain = {name: value for name, value in vars(self).items() if name != "spreads"}
        return plain | {"spreads": {name: quantiles(counter) for name, counter in self.spreads.items() if counter}}


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One source."""

    name: str
    category: str
    format: str
    path: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Stats:
    """All sources; ``told`` says in words what tokens and tiles are here."""

    sources: tuple[SourceStats, ...]
    told: str

    @property
    def categories(self) -> dict[str, Counts]:
        """Category → the sum of its sources, in the order of the sources."""
        return {name: _sum(s.counts for s in self.sources if s.category == name) for name in self._categories()}

    @property
    def total(self) -> Counts:
        """The sum of everything."""
        return _sum(source.counts for source in self.sources)

    def _categories(self) -> list[str]:
        return list(dict.fromkeys(source.category for source in self.sources))

    def values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "told": self.told,
            "sources": [
                {"name": s.name, "category": s.category, "format": s.format, "path": s.path} | s.counts.values()
                for s in self.sources
            ],
            "categories": {name: counts.values() for name, counts in self.categories.items()},
            "total": self.total.values(),
        }


def collect(
    sources: Sequence[Source],
    processor: Processor,
    told: str = "",
    said: Callable[[str], None] = lambda _: None,
    engine: Engine = ALL_CORES,
) -> Stats:
    """Walk every sample of every source once, large ones by several processes.

    Args:
        told: what tokens and tiles are here, in words.
        said: is told which source comes next.
        engine: who works; by default all cores where a source is large, else this process.
    """
    found = []
    for source in sources:
        said(f"{source.name}: {len(source):,} samples")
        counts = _sum(over_rows(partial(count_rows, source, processor), len(source), engine))
        config = source.config
        found.append(SourceStats(source.name, str(config.category), config.format, str(source.path), counts))
    return Stats(tuple(found), told)


def count_rows(source: Source, processor: Processor, rows: Iterable[int]) -> Counts:
    """Count some samples of a source. Those that cannot be used are counted as such."""
    counts = Counts()
    for index in rows:
        try:
            found = processor.measure(source.sample(index))
        except SkipSample as skip:
            counts.unusable += 1
            if len(counts.skips) < SKIPS_SHOWN:
                counts.skips.append(f"{source.address(index)}: {skip.reason}")
            continue
        counts.samples += 1
        counts.images += len(found.sizes)
        counts.tiles += found.tiles
        counts.tokens += found.tokens
        counts.text_tokens += found.tokens - found.tiles * processor.tokens_per_tile
        counts.supervised_tokens += found.trained
        spreads = counts.spreads
        spreads["tokens"][found.tokens] += 1
        spreads["supervised"][found.trained] += 1
        spreads["pictures"][len(found.sizes)] += 1
        spreads["tiles"][found.tiles] += 1
        for width, height in found.sizes:
            spreads["longer_side"][max(width, height)] += 1
            spreads["shorter_side"][min(width, height)] += 1
            # Two digits after the point: exact sides would be as many values as there are pictures.
            spreads["aspect"][round(width / height, 2)] += 1
    return counts


def _sum(parts: Iterable[Counts]) -> Counts:
    total = Counts()
    for part in parts:
        total.add(part)
    return total


def quantiles(counter: Mapping[Any, int]) -> dict[str, float]:
    """Mean, and the value below or at which a share of all lies; exact, by counting. Empty of an empty count."""
    total = sum(counter.values())
    if not total:
        return {}
    told: dict[str, float] = {"mean": sum(value * count for value, count in counter.items()) / total}
    wanted = iter(QUANTILES.items())
    name, share = next(wanted)
    passed = 0
    for value in sorted(counter):
        passed += counter[value]
        while passed >= share * total:
            told[name] = value
            name, share = next(wanted, ("", 2.0))
    return told


def as_text(stats: Stats) -> str:
    """The numbers of every source, category and of all, as aligned text."""
    lines = [[*TITLES, "length p50", "p95", "max", "side p50"]]
    rows = [(s.name, s.category, s.counts) for s in stats.sources]
    rows += [(f"= {name}", "", counts) for name, counts in stats.categories.items() if len(stats.categories) > 1]
    if len(rows) > 1:
        rows.append(("= all", "", stats.total))
    for name, category, counts in rows:
        lengths, sides = quantiles(counts.spreads["tokens"]), quantiles(counts.spreads["longer_side"])
        spread = (lengths.get("p50"), lengths.get("p95"), lengths.get("max"), sides.get("p50"))
        shown = [f"{number:,}" if number is not None else "-" for number in (*_numbers(counts), *spread)]
        lines.append([name, category, *shown])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line in lines:
        padded = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        padded[:2] = [cell.ljust(width) for cell, width in zip(line[:2], widths, strict=False)]
        text.append("  ".join(padded).rstrip())
    text.append(f"({stats.told})" if stats.told else "")
    text += [f"  unusable: {skip}" for source in stats.sources for skip in source.counts.skips]
    return "\n".join(filter(None, text))


def as_page(stats: Stats, title: str) -> str:
    """The same with plots, as one self-contained HTML page."""
    total = stats.total
    rows: list[list[Content]] = [[s.name, s.category, *_numbers(s.counts)] for s in stats.sources]
    rows += [[Html("<b>all</b>"), "", *_numbers(total)]] if len(rows) > 1 else []
    shares = {
        name: [
            100 * part / whole if whole else None
            for part, whole in (
                (counts.samples, total.samples),
                (counts.tokens, total.tokens),
                (counts.supervised_tokens, total.supervised_tokens),
                (counts.tiles, total.tiles),
            )
        ]
        for name, counts in stats.categories.items()
    }
    parts = [paragraph(stats.told)] if stats.told else []
    parts.append(table(TITLES, rows))
    if len(shares) > 1:
        parts.append(bars(shares, ["samples", "tokens", "supervised tokens", "tiles"]))
    if skips := [skip for source in stats.sources for skip in source.counts.skips]:
        parts.append(folded(f"Samples that cannot be used: the first of {total.unusable:,}", bullets(skips)))
    sections = [Section("What there is", tuple(parts))]
    for number, (name, counts) in enumerate(stats.categories.items()):
        inside = [s for s in stats.sources if s.category == name]
        own = [folded(f"{s.name} ({s.format}, {s.path})", *_plots(s.counts, number)) for s in inside]
        shown = _plots(counts, number) if len(inside) > 1 or not own else _plots(inside[0].counts, number)
        sections.append(Section(name, (*shown, *(own if len(inside) > 1 else ()))))
    return Page(title, tuple(sections), "From sizes alone; no picture was decoded.").render()


def _numbers(counts: Counts) -> tuple[int, ...]:
    return (
        counts.samples,
        counts.unusable,
        counts.images,
        counts.tiles,
        counts.text_tokens,
        counts.supervised_tokens,
    )


def _plots(counts: Counts, colour: int) -> list[Html]:
    """Histograms and quantiles of everything that was counted value by value."""
    plots, rows = [], []
    for name, label in SPREADS.items():
        counter = counts.spreads[name]
        if not counter or set(counter) == {0}:
            continue
        told = quantiles(counter)
        shown = [told[q] for q in ("mean", *QUANTILES)]
        rows.append([label, *(Html(f"{value:.2f}") if name == "aspect" else round(value) for value in shown)])
        if len(counter) > 1:
            plots.append(histogram(counter, label, log=told["max"] > WIDE * max(told["min"], 1), colour=colour))
    return [table(["", "mean", *QUANTILES], rows), row(*plots)] if rows else [paragraph("No sample that can be used.")]
