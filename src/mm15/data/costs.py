"""What has to be known about every row before anything is packed, found in one pass and kept beside the data.

Two things: how many samples a row is, where a format makes several of one; and what every sample costs in tokens and
tiles. Large sources are walked by several processes.

Legend: R rows or samples.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import Sample
from mm15.datasets._selected import Where, fitting
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.io.atomic import write_atomic
from mm15.io.rows import Rows

if TYPE_CHECKING:
    from mm15.processor import Processor  # heavy: reading rows needs no torch

POOL_FROM = 20_000
"""Rows from which a scan is worth starting processes."""
ResultT = TypeVar("ResultT")
Found = tuple[np.ndarray, list[tuple[int, str]]]
"""An int32 array with one entry per row, and what cannot be used as (row, reason)."""


class Samples(Protocol):
    """What a source is here."""

    def sample(self, index: int, /) -> Sample: ...

    def samples_of_row(self, row: int, /) -> Sequence[Sample]: ...


def costs_of(source: Samples, processor: Processor, count: int) -> Found:
    """Tokens and tiles of every sample, ``[R, 2]``; (0, 0) for those that cannot be used."""
    return _over(partial(_count_costs, source, processor), count)


def samples_per_row(source: Samples, count: int) -> Found:
    """How many samples every row is, ``[R]``; a row that cannot be used counts as one, so that it is met and named."""
    return _over(partial(_count_samples, source), count)


def rows_that_fit(rows: Rows, where: Where, count: int) -> Found:
    """Which rows the option ``where`` selects, ``[R]``, 0 or 1. Raises ``ConfigError`` as ``fitting`` does."""
    found, wrong = _over(partial(_fit, rows, where), count)
    if wrong:
        raise ConfigError([wrong[0][1]], "sources")
    return found, []


def _fit(rows: Rows, where: Where, numbers: range) -> Found:
    try:
        return fitting(rows, where, numbers), []
    except ConfigError as error:  # handed back as text, as processes would wrap it
        return np.zeros(len(numbers), np.int32), [(numbers.start, error.problems[0])]


def _count_costs(source: Samples, processor: Processor, rows: range) -> Found:
    costs_R2 = np.zeros((len(rows), 2), np.int32)
    skips = []
    for index, row in enumerate(rows):
        try:
            cost = processor.count(source.sample(row))
            costs_R2[index] = cost.tokens, cost.tiles
        except SkipSample as skip:
            skips.append((row, skip.reason))
    return costs_R2, skips


def _count_samples(source: Samples, rows: range) -> Found:
    counts_R = np.ones(len(rows), np.int32)
    for index, row in enumerate(rows):
        try:
            counts_R[index] = len(source.samples_of_row(row))
        except SkipSample:
            continue
    return counts_R, []


def _over(work: Callable[[range], Found], rows: int) -> Found:
    counted = list(over_rows(work, rows))
    return np.concatenate([found for found, _ in counted]), [skip for _, skips in counted for skip in skips]


def over_rows(
    work: Callable[[range], ResultT], rows: int, engine: Engine = ALL_CORES, pool_from: int = POOL_FROM
) -> Iterator[ResultT]:
    """``work`` over parts of ``range(rows)``, the results in order.

    Args:
        work: can be pickled, and depends on its range alone.
        engine: who works; a pool of all cores (``workers`` 0) only where it is worth it, from ``pool_from`` rows on.
    """
    if engine == ALL_CORES and rows < pool_from:
        yield work(range(rows))
        return
    step = max(1, pool_from // 10)
    chunks = [range(start, min(start + step, rows)) for start in range(0, rows, step)]
    name = "rows {0.start} to {0.stop}".format
    yield from map_ordered(work, chunks, engine, name=name)


def stamp_of_files(files: Sequence[Path]) -> str:
    """Changes when one of the files (or folders) does: its name, size or time; a missing one is noted as such."""
    told = []
    for file in files:
        try:
            found = file.stat()
            told.append((file.name, found.st_size, found.st_mtime_ns))
        except OSError:
            told.append((file.name, -1, -1))
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()


def kept(sidecar: Path, stamp: str, make: Callable[[], Found]) -> Found:
    """What was found for this state of the files, from the sidecar if it is there and whole, or made and kept."""
    found = _load(sidecar, stamp)
    if found is None:
        found = make()
        buffer = io.BytesIO()
        told = np.frombuffer(json.dumps([stamp, found[1]]).encode(), np.uint8)
        np.savez(buffer, found=found[0], skips=told)
        try:
            write_atomic(sidecar, buffer.getvalue())
        except OSError as error:
            warnings.warn(f"{sidecar}: cannot be written ({error}); it is computed again next time", stacklevel=3)
    return found


def _load(sidecar: Path, stamp: str) -> Found | None:
    try:
        with np.load(sidecar) as saved:
            saved_stamp, skips = json.loads(saved["skips"].tobytes())
            return (saved["found"], [(row, reason) for row, reason in skips]) if saved_stamp == stamp else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
