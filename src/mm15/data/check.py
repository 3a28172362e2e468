"""Read every row of sources once and say all that is wrong, before a training run meets it.

Rows are looked at by ``data.examine``; here they are spread over processes or a cluster, what was found is put in the
order of the rows, and a source is stopped as soon as it is certain that more of its rows are bad than allowed. The
report is the same whoever works.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mm15.base.errors import ConfigError, SkipBudgetExceeded
from mm15.data.clean import check_cleanable, write_clean
from mm15.data.examine import Examiner, Note
from mm15.data.faults import Fault, fault
from mm15.data.source import Source
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.io.rows import KINDS, find_files, kind_of

if TYPE_CHECKING:
    from mm15.processor import Processor  # heavy: most checks need no torch

CHUNK = 256
"""Rows that a worker takes at a time."""
NOTES_KEPT = 1000
"""Of each kind, per source; the rest is counted."""
SHOWN = 10
"""Of each kind, in the text; ``--report`` and ``--json`` have all."""


@dataclass(slots=True)
class SourceReport:
    """What is known of a source after it was read. ``stopped`` says why it was not read to its end."""

    name: str
    path: str
    format: str
    category: str
    rows: int
    """Those that count; ``not_selected`` are those that the option ``where`` leaves out."""
    not_selected: int = 0
    read: int = 0
    samples: int = 0
    pictures: int = 0
    max_bad: float = 0.0
    stopped: str = ""
    bad_rows: list[int] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Files that cannot be opened at all; their rows are in no count."""
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        return not self.stopped and not self.unreadable


TOLD = (
    *("name", "path", "format", "category", "rows", "not_selected"),
    *("read", "samples", "pictures", "max_bad", "stopped", "unreadable"),
)


@dataclass(slots=True)
class CheckReport:
    """All faults in the order of sources and rows, and notes, of each kind the first ``NOTES_KEPT``."""

    sources: list[SourceReport]
    faults: list[Fault] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    clean: str = ""
    """The folder with the good rows, where one was asked for and written."""

    @property
    def ok(self) -> bool:
        """Whether every file could be opened and every source keeps within its share of bad rows."""
        return all(source.ok for source in self.sources)

    def raise_if_stopped(self) -> None:
        """Raises ``SkipBudgetExceeded`` naming every source that was stopped, ``ConfigError`` for unreadable files."""
        if stopped := [source.stopped for source in self.sources if source.stopped]:
            raise SkipBudgetExceeded("\n".join(stopped))
        if unreadable := [told for source in self.sources for told in source.unreadable]:
            raise ConfigError(unreadable, "sources")

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "sources": [
                {
                    **{name: getattr(source, name) for name in TOLD},
                    "notes": dict(source.notes),
                    "bad": len(source.bad_rows),
                    "ok": source.ok,
                }
                for source in self.sources
            ],
            "faults": [entry._asdict() for entry in self.faults],
            "notes": [note._asdict() for note in self.notes],
            "clean": self.clean,
        }

    def text(self, shown: int = SHOWN) -> str:
        """The report for people: per kind the fix and the first ``shown`` places (0: all), then a line per source."""
        lines: list[str] = []
        by_kind: dict[str, list[Fault]] = {}
        for entry in self.faults:
            by_kind.setdefault(entry.kind, []).append(entry)
        for kind, found in sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0])):
            lines.append(f"{kind}: {len(found)}\n  fix: {found[0].fix}")
            for entry in found[: shown or None]:
                lines.append(f"  {entry.address}: {entry.reason}")
                lines += [f"    row: {entry.row}"] if entry.row else []
            lines += [f"  … and {len(found) - shown} more: --report FILE"] if shown and len(found) > shown else []
        counted: Counter[str] = Counter()
        for source in self.sources:
            counted += source.notes
        first = {note.kind: note for note in reversed(self.notes)}
        if counted:
            lines.append("used, but not as it stands in the file:")
            lines += [
                f"  {kind}: {count:,}, first {first[kind].address}: {first[kind].detail}"
                for kind, count in sorted(counted.items())
            ]
        lines += [_line(source) for source in self.sources]
        read = sum(source.read for source in self.sources)
        lines.append(f"{read:,} rows in {self.seconds:.1f} s ({read / max(self.seconds, 1e-9):,.0f} rows/s)")
        lines += [f"good rows: {self.clean} (its sources.yaml names them)"] if self.clean else []
        return "\n".join(lines)


def _line(source: SourceReport) -> str:
    bad = len(source.bad_rows)
    state = "stopped" if source.stopped else "unreadable files" if source.unreadable else "ok"
    told = f"{source.name} ({source.format}): {source.read:,} of {source.rows:,} rows read, {bad:,} bad"
    left_out = f", {source.not_selected:,} not selected" if source.not_selected else ""
    told += f" ({bad / max(source.read, 1):.2%}){left_out}"
    told += f", {source.samples:,} samples, {source.pictures:,} pictures: {state}"
    return f"{told}\n  {source.stopped}" if source.stopped else told


class _Chunk(NamedTuple):
    source: int
    rows: range


class _ChunkFound(NamedTuple):
    """What was found in a chunk; faults and notes with the row they belong to, (samples, pictures) of every row."""

    chunk: _Chunk
    faults: list[tuple[int, Fault]]
    notes: list[tuple[int, Note]]
    counts: list[tuple[int, int]]
    digests: list[tuple[str, str]]


def check(
    sources: Sequence[Source],
    max_bad: float | None = None,
    decode: bool = True,
    clean: Path | None = None,
    engine: Engine = ALL_CORES,
    processor: Processor | None = None,
    progress: Callable[[int, int], None] | None = None,
    digests: bool = False,
) -> CheckReport:
    """Read every row of the sources once.

    Args:
        sources: what a recipe or a folder names.
        max_bad: share of a source's rows that may be bad; None: what its recipe says (``max_skip_rate``). A source with
            more is read no further than the row that makes it certain; the others are.
        decode: decode every picture; without, only headers are read.
        clean: a new folder for the good rows, written only where every source keeps within ``max_bad``.
        engine: who works.
        processor: also refuse samples that are too long for it.
        progress: told (rows read, rows in all).
        digests: give the digest of every good sample by its key.

    Raises:
        ConfigError: ``clean`` is there already, or rows of a source cannot be written as they are.
        ChunkError: a worker died.
    """
    begun = time.monotonic()
    report = CheckReport([])
    opened = [_open(source, max_bad, report) for source in sources]
    if clean is not None:
        check_cleanable(opened, clean)
    examiner = Examiner(decode, processor, digests)
    total = sum(source.rows for source in report.sources)
    work = partial(_look, examiner, opened)
    for found in map_ordered(work, _chunks(report.sources), engine, lambda chunk: _name(opened, chunk)):
        _add(report, opened, found)
        if progress:
            left_out = sum(source.rows - source.read for source in report.sources if source.stopped)
            progress(sum(source.read for source in report.sources), total - left_out)
    report.seconds = time.monotonic() - begun
    if clean is not None and report.ok:
        bad = [frozenset(source.bad_rows) for source in report.sources]
        write_clean(opened, bad, clean, {**report.to_json(), "clean": ""}, report.text(0), engine)
        report.clean = str(clean)
    return report


def _open(source: Source, max_bad: float | None, report: CheckReport) -> Source:
    """The source without files that cannot be opened; these are told in the report."""
    config = source.config
    about = SourceReport(source.name, str(source.path), config.format, config.category.value, 0)
    about.max_bad = config.max_skip_rate if max_bad is None else max_bad
    report.sources.append(about)
    broken: list[tuple[Path, Exception]] = []
    try:
        about.rows, about.not_selected = len(source.rows), source.not_selected
        return source
    except (ConfigError, OSError) as error:
        broken.append((source.path, error))
    if not source.has_own_rows:
        with suppress(ConfigError):
            readable, unreadable = _tried(find_files(source.path))
            if readable:
                source = Source(config, source.data, readable)
                about.rows, about.not_selected = len(source.rows), source.not_selected
            # Only here: where the files are well, the source cannot be opened for another reason, which stays told.
            broken = unreadable
    for file, error in broken:
        told = "; ".join(error.problems) if isinstance(error, ConfigError) else str(error)
        found = fault(source.name, str(file), f"cannot be opened: {told.removeprefix(f'{file}: ')}")
        about.unreadable.append(str(found))
        report.faults.append(found)
    return source


def _tried(files: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, Exception]]]:
    """(files that can be opened, the others and why not)."""
    readable, broken = [], []
    for file in files:
        try:
            KINDS[kind_of(file)](file)
            readable.append(file)
        except (ConfigError, OSError) as error:
            broken.append((file, error))
    return readable, broken


def _chunks(sources: Sequence[SourceReport]) -> Iterator[_Chunk]:
    for number, source in enumerate(sources):
        for start in range(0, source.rows, CHUNK):
            if source.stopped:
                break
            yield _Chunk(number, range(start, min(start + CHUNK, source.rows)))


def _name(sources: Sequence[Source], chunk: _Chunk) -> str:
    source, rows = sources[chunk.source], chunk.rows
    return f"{source.name}, rows {source.rows.address(rows.start)} to {source.rows.address(rows.stop - 1)}"


def _look(examiner: Examiner, sources: Sequence[Source], chunk: _Chunk) -> _ChunkFound:
    result = _ChunkFound(chunk, [], [], [], [])
    source = sources[chunk.source]
    for row in chunk.rows:
        found = examiner.row(source, row)
        result.faults.extend((row, entry) for entry in found.faults)
        result.notes.extend((row, note) for note in found.notes)
        result.counts.append((found.samples, found.pictures))
        result.digests.extend(found.digests)
    return result


def _add(report: CheckReport, sources: Sequence[Source], found: _ChunkFound) -> None:
    """Put a chunk's findings into the report, up to the row at which its source is stopped."""
    chunk = found.chunk
    about = report.sources[chunk.source]
    if about.stopped:
        return
    bad = sorted({row for row, _ in found.faults})
    allowed = int(about.max_bad * about.rows + 1e-9)
    end = chunk.rows.stop
    if len(about.bad_rows) + len(bad) > allowed:
        last = bad[allowed - len(about.bad_rows)]
        end = last + 1
        about.stopped = (
            f"stopped after row {end:,} of {about.rows:,} ({sources[chunk.source].rows.address(last)}): "
            f"{allowed + 1:,} bad rows are more than the {allowed:,} ({about.max_bad:.4g} of all) that may be bad, "
            f"whatever the rest is like. Repair the source, or allow more: --max-bad RATE"
        )
    about.bad_rows += [row for row in bad if row < end]
    report.faults += [entry for row, entry in found.faults if row < end]
    for row, note in found.notes:
        if row < end:
            about.notes[note.kind] += 1
            if about.notes[note.kind] <= NOTES_KEPT:
                report.notes.append(note)
    counts = found.counts[: end - chunk.rows.start]
    about.read += len(counts)
    about.samples += sum(samples for samples, _ in counts)
    about.pictures += sum(pictures for _, pictures in counts)
    if end == chunk.rows.stop:
        report.digests.update(found.digests)
