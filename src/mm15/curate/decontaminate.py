"""Rows that share pictures or questions with other sets (benchmarks, held-out splits): found, named, left out.

Both sides may be anything that can be read: data files, built folders, recipes. Rows are compared as samples, so a
picture inside a Parquet file meets the same picture in a folder. What cannot be read or hashed is counted, never
dropped: ``mm15 data check`` is for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import ImagePart, MediaRef, Role, Sample, VideoPart
from mm15.curate.overlap import MOST_BITS, Hit, Overlap, Row
from mm15.data.clean import check_cleanable, write_clean
from mm15.data.source import Source
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.images.hashes import PictureHash, picture_hash
from mm15.images.pixels import open_picture
from mm15.io.media import read_bytes
from mm15.text.ngrams import words_of

CHUNK = 200
HITS = 5
"""Rows of the other sets that are told for one row."""
BY = ("either", "picture", "question", "both")


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a row overlap.

    Raises:
        ConfigError: with every value that cannot be.
    """

    bits: int = 6
    """Of the 64-bit picture hashes, how many may differ (0: only what looks the same in every bit)."""
    ngram: int = 13
    """Words that must stand in the same order (GPT-3, arXiv 2005.14165, appendix C)."""
    containment: float = 0.5
    """Share of a question's n-grams that a row must contain."""
    by: str = "either"
    """What must be shared: a picture, a question, either, or both with the same row."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.bits <= MOST_BITS:
            problems.append(f"--bits {self.bits}: pictures are compared within 0 to {MOST_BITS} of 64 bits")
        if self.ngram < 1:
            problems.append(f"--ngram {self.ngram}: an n-gram has at least one word")
        if not 0 < self.containment <= 1:
            problems.append(f"--containment {self.containment:g}: a share above 0 and up to 1 is needed")
        if self.by not in BY:
            problems.append(f"--by {self.by}: known: {', '.join(BY)}")
        if problems:
            raise ConfigError(problems, "decontaminate")

    def counts(self, hit: Hit) -> bool:
        """Whether a hit makes a row overlap."""
        return self.by == "either" or hit.kind in (self.by, "both")


@dataclass(slots=True)
class Read:
    """What was read of a source."""

    name: str
    path: str
    rows: int
    unusable: int = 0
    pictures: int = 0
    unreadable: int = 0
    """Pictures that could not be opened."""
    plain: int = 0
    """Pictures of one colour, which are not compared."""
    clips: int = 0
    """Clips, which are not compared."""


@dataclass(slots=True)
class Compared(Read):
    """What was found in a source."""

    overlapping: dict[int, str] = field(default_factory=dict)
    """Row → ``picture``, ``question`` or ``both``."""

    def count(self, kind: str) -> int:
        """Rows that share this."""
        return sum(found == kind for found in self.overlapping.values())


@dataclass(frozen=True, slots=True)
class Pair:
    """A row and one of another set that it shares something with."""

    source: str
    address: str
    against: str
    against_address: str
    kind: str
    distance: int
    """Bits between the picture hashes, -1 where no picture is shared."""
    containment: float
    others: int
    """How many more rows of the other sets share something with this row, beyond those that are told."""


@dataclass(slots=True)
class Report:
    """What was compared and what was found."""

    rule: Rule
    sources: list[Compared]
    against: list[Read]
    questions: int = 0
    """Of the other sets, compared by n-grams."""
    short_questions: int = 0
    """Of the other sets, too short or common for that: compared as a whole, together with their picture."""
    pairs: list[Pair] = field(default_factory=list)
    seconds: float = 0.0
    out: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        told = []
        for source in self.sources:
            values = asdict(source)
            del values["overlapping"]
            told.append(values | {kind: source.count(kind) for kind in ("picture", "question", "both")})
        return asdict(self) | {"sources": told}

    def text(self, shown: int = 20) -> str:
        """For people: what was read, what is shared, the first pairs."""
        lines = [f"against {one.name} ({one.path}): {_told(one)}" for one in self.against]
        lines.append(
            f"  {self.questions:,} questions compared by {self.rule.ngram}-grams, {self.short_questions:,} as a whole "
            "(shorter, or only common words)"
        )
        for one in self.sources:
            found = len(one.overlapping)
            share = found / one.rows if one.rows else 0.0
            lines.append(f"{one.name} ({one.path}): {_told(one)}")
            lines.append(
                f"  {found:,} rows overlap ({share:.2%}): {one.count('both'):,} share picture and question, "
                f"{one.count('picture'):,} a picture, {one.count('question'):,} a question"
            )
        for pair in self.pairs[:shown]:
            how = [f"pictures {pair.distance} bits apart"] if pair.distance >= 0 else []
            how += [f"{pair.containment:.0%} of a question"] if pair.containment else []
            more = f" (and {pair.others:,} more)" if pair.others else ""
            lines.append(f"  {pair.address} ~ {pair.against_address}: {', '.join(how)}{more}")
        if len(self.pairs) > shown:
            lines.append(f"  … {len(self.pairs) - shown:,} more pairs")
        if self.out:
            lines.append(f"the other rows: {self.out}")
        return "\n".join(lines)


class _Chunk(NamedTuple):
    source: int
    rows: range


class _Seen(NamedTuple):
    """Of a chunk: its rows to compare (None: unusable), and what ``Read`` counts of it."""

    chunk: _Chunk
    rows: list[Row | None]
    counts: dict[str, int]


class _Found(NamedTuple):
    """Of a chunk: (row, its address, the first hits, how many there are), and what ``Read`` counts of it."""

    chunk: _Chunk
    hits: list[tuple[int, str, list[Hit], int]]
    counts: dict[str, int]


def decontaminate(
    sources: Sequence[Source],
    against: Sequence[Source],
    rule: Rule = Rule(),
    out: Path | None = None,
    engine: Engine = ALL_CORES,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Find the rows of ``sources`` that overlap with rows of ``against``, and write the others.

    Args:
        out: a new folder for the rows that do not overlap, in the form their files have, with the report; None: none.
        engine: who works. The result does not depend on it.
        progress: told (rows read, rows in all), of both sides.

    Raises:
        ConfigError: ``out`` is there already, or rows of a source cannot be written as they are.
        ChunkError: a worker died.
    """
    begun = time.monotonic()
    if out is not None:
        check_cleanable(sources, out)
    report = Report(rule, [Compared(*_about(one)) for one in sources], [Read(*_about(one)) for one in against])
    total, read = sum(one.rows for one in (*report.sources, *report.against)), 0

    def note(about: Sequence[Read], chunk: _Chunk, counts: dict[str, int]) -> None:
        nonlocal read
        for name, count in counts.items():
            setattr(about[chunk.source], name, getattr(about[chunk.source], name) + count)
        read += len(chunk.rows)
        if progress:
            progress(read, total)

    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    for seen in map_ordered(partial(_see, list(against)), _chunks(report.against), engine, partial(_name, against)):
        note(report.against, seen.chunk, seen.counts)
        for number, row in zip(seen.chunk.rows, seen.rows, strict=True):
            if row is not None:
                rows.append(row._replace(words=[]))
                places.append((seen.chunk.source, number))
    overlap = Overlap(rows, rule.bits, rule.ngram, rule.containment)
    report.questions, report.short_questions = overlap.questions.compared, overlap.questions.short
    del rows
    work = partial(_compare, list(sources), overlap, rule)
    for found in map_ordered(work, _chunks(report.sources), engine, partial(_name, sources)):
        note(report.sources, found.chunk, found.counts)
        about = report.sources[found.chunk.source]
        for row, address, hits, count in found.hits:
            about.overlapping[row] = hits[0].kind
            for hit in hits:
                other, number = places[hit.row]
                there = against[other].rows.address(number)
                kept = (hit.kind, hit.distance, round(hit.containment, 4), count - len(hits))
                report.pairs.append(Pair(about.name, address, against[other].name, there, *kept))
    report.seconds = time.monotonic() - begun
    if out is not None:
        bad = [frozenset(one.overlapping) for one in report.sources]
        write_clean(sources, bad, out, report.to_json(), report.text(0), engine)
        report.out = str(out)
    return report


def _about(source: Source) -> tuple[str, str, int]:
    return source.name, str(source.path), len(source.rows)


def _told(read: Read) -> str:
    told = [f"{read.rows:,} rows", f"{read.pictures:,} pictures"]
    if read.unusable:
        told.append(f"{read.unusable:,} rows cannot be used and were not compared (mm15 data check names them)")
    for count, what in (
        (read.unreadable, "pictures cannot be read"),
        (read.plain, "pictures of one colour were not compared"),
        (read.clips, "clips were not compared"),
    ):
        told += [f"{count:,} {what}"] if count else []
    return ", ".join(told)


def _chunks(read: Sequence[Read]) -> Iterator[_Chunk]:
    for number, one in enumerate(read):
        for start in range(0, one.rows, CHUNK):
            yield _Chunk(number, range(start, min(start + CHUNK, one.rows)))


def _name(sources: Sequence[Source], chunk: _Chunk) -> str:
    source = sources[chunk.source]
    return f"{source.name}, from {source.rows.address(chunk.rows.start)}"


def _compare(sources: Sequence[Source], overlap: Overlap, rule: Rule, chunk: _Chunk) -> _Found:
    seen = _see(sources, chunk)
    found = []
    for number, row in zip(chunk.rows, seen.rows, strict=True):
        hits = [hit for hit in overlap.hits(row) if rule.counts(hit)] if row else []
        if hits:
            found.append((number, sources[chunk.source].rows.address(number), hits[:HITS], len(hits)))
    return _Found(chunk, found, seen.counts)


def _see(sources: Sequence[Source], chunk: _Chunk) -> _Seen:
    """Hashes and words of the rows of a chunk. A picture of several rows is opened once."""
    source, rows = sources[chunk.source], []
    counts: dict[str, int] = dict.fromkeys(("unusable", "pictures", "unreadable", "plain", "clips"), 0)
    known: dict[MediaRef, PictureHash | str] = {}
    for number in chunk.rows:
        try:
            samples = source.samples_of_row(number)
        except SkipSample:
            counts["unusable"] += 1
            rows.append(None)
            continue
        pictures = []
        images = [image for sample in samples for image in sample.images]
        for image in images:
            if image.media not in known:
                known[image.media] = _hash(image)
            hashed = known[image.media]
            counts["pictures"] += 1
            if isinstance(hashed, str):
                counts[hashed] += 1
            else:
                pictures.append(hashed)
        counts["clips"] += sum(_clips(sample) for sample in samples)
        said = [message for sample in samples for message in sample.messages]
        asked = [words_of(message.text) for message in said if message.role in (Role.USER, Role.DOCUMENT)]
        rows.append(Row(pictures, asked, words_of("\n".join(message.text for message in said)), bool(images)))
    return _Seen(chunk, rows, counts)


def _hash(image: ImagePart) -> PictureHash | str:
    """The hash of a picture, or as what it is counted instead."""
    media = image.media
    try:
        return picture_hash(open_picture(read_bytes(media), str(media), media.frame, dpi=media.dpi)) or "plain"
    except SkipSample:
        return "unreadable"


def _clips(sample: Sample) -> int:
    return sum(isinstance(part, VideoPart) for message in sample.messages for part in message.parts)
