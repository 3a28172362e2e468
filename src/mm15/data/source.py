"""A source: one JSON-lines file whose rows are known by address, read at random, and costed once.

What each row costs in tokens and tiles is needed before anything is packed. It is computed from sizes alone, once, and
kept beside the data in ``<file>.<digest>.costs.npz``; the digest names the processor and the format, and a data file
whose size or time has changed is read again. Pictures whose rows give no ``width`` and ``height`` are opened for their
header; such a picture that changes later is not noticed.

Legend: R rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat, field_validator

from mm15.base.catalogue import lookup
from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipBudgetExceeded, SkipSample
from mm15.base.types import Category, Sample
from mm15.datasets._context import RowContext
from mm15.io.atomic import write_atomic
from mm15.io.jsonl import JsonlIndex
from mm15.processor import Processor

FORMATS = "mm15.datasets"
POOL_FROM = 20_000
"""Rows from which a scan is worth starting processes."""
PROCESSES = get_context("spawn" if sys.platform == "win32" else "forkserver")
"""How this package starts processes: never by forking one that already runs threads or holds a GPU."""
PROCESSES.set_forkserver_preload(["mm15.data.loader"])


class SourceConfig(Strict):
    """One data set. ``path`` and ``root`` are relative to the data folder; ``root`` is by default the file's folder."""

    name: str
    path: str
    format: str
    category: Category
    root: str | None = None
    weight: PositiveFloat | None = None
    """Share among the sources of its category; by default in proportion to their sizes."""
    max_epochs: PositiveFloat | None = None
    """Repetition ceiling: a run that would draw every row more often than this does not start."""
    max_skip_rate: float = Field(0.01, ge=0, le=1)
    """Share of rows that may be unusable before the run stops."""

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        try:
            lookup(FORMATS, value, "format")
        except ConfigError as error:
            raise ValueError(error.problems[0]) from None
        return value


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is not used, and why."""

    row: int
    address: str
    reason: str

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


class JsonArray:
    """The rows of one JSON array, the form of LLaVA's own files, held in memory: for large sets JSON lines are better.

    Raises:
        ConfigError: the file is not a JSON array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._rows = json.loads(path.read_bytes())
        except ValueError as error:
            raise ConfigError([f"{path}: not valid JSON: {error}"], "sources") from error
        if not isinstance(self._rows, list):
            raise ConfigError([f"{path}: expected an array of rows, found {type(self._rows).__name__}"], "sources")

    def __len__(self) -> int:
        return len(self._rows)

    def address(self, row: int) -> str:
        return f"{self.path}:[{row}]"

    def row(self, row: int) -> dict[str, Any]:
        if not isinstance(self._rows[row], dict):
            raise SkipSample(f"expected a JSON object, found {type(self._rows[row]).__name__}", self.address(row))
        return self._rows[row]


class Source:
    """Random access to the samples of one file. Small to send to another process: the file is opened on first use.

    Raises:
        ConfigError: there is no such file.
    """

    def __init__(self, config: SourceConfig, data: str | Path = "") -> None:
        self.config = config
        self.path = Path(data) / config.path
        self.root = str(self.path.parent if config.root is None else Path(data) / config.root)
        if not self.path.is_file():
            raise ConfigError([f"source '{config.name}': no such file: {self.path}"], "sources")

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def _rows(self) -> JsonlIndex | JsonArray:
        return JsonArray(self.path) if self.path.suffix == ".json" else JsonlIndex(self.path)

    @cached_property
    def _to_samples(self) -> Callable[[dict[str, Any], RowContext], list[Sample]]:
        return lookup(FORMATS, self.config.format, "format").to_samples

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_rows"}

    def __len__(self) -> int:
        return len(self._rows)

    def address(self, row: int) -> str:
        """``file:line`` of a row; ``file:[number]`` in a JSON array."""
        return self._rows.address(row)

    def row(self, row: int) -> dict[str, Any]:
        """The row as it stands in the file. Raises ``SkipSample`` where that is no JSON object."""
        return self._rows.row(row)

    def sample(self, row: int) -> Sample:
        """The sample of a row.

        Raises:
            SkipSample: the row cannot be used; carries its ``file:line``.
        """
        context = RowContext(self.name, self.config.category, f"{self.name}/{row}", self.root)
        try:
            samples = self._to_samples(self.row(row), context)
            if len(samples) != 1:
                raise SkipSample(f"format {self.config.format} makes {len(samples)} samples of this row, expected one")
        except SkipSample as skip:
            raise type(skip)(skip.reason, self.address(row)) from skip
        return samples[0]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the content, not with the place: row count, size, and a hash of the first and last 64 KiB."""
        size, edge = self.path.stat().st_size, 1 << 16
        with self.path.open("rb") as file:
            digest = hashlib.sha256(file.read(edge))
            file.seek(max(0, size - edge))
            digest.update(file.read())
        return f"{len(self)} rows, {size} bytes, {digest.hexdigest()[:16]}"

    def costs(self, processor: Processor) -> np.ndarray:
        """Tokens and tiles of every row, int32 ``[R, 2]``; (0, 0) for rows that cannot be used."""
        return self.scan(processor)[0]

    def scan(self, processor: Processor) -> tuple[np.ndarray, list[Skip]]:
        """``costs``, and the rows that cannot be used."""
        about = (processor.fingerprint, self.config.format, self.config.category, self.config.root, self.name)
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:12]
        sidecar = self.path.with_name(f"{self.path.name}.{digest}.costs.npz")
        stat = self.path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        if (kept := _load(sidecar, stamp)) is not None:
            costs_R2, listed = kept
        else:
            costs_R2, listed = _count_all(self, processor)
            _save(sidecar, stamp, costs_R2, listed)
        return costs_R2, [Skip(row, self.address(row), reason) for row, reason in listed]


def open_sources(configs: Iterable[SourceConfig], data: str | Path = "") -> list[Source]:
    """All sources of a recipe.

    Raises:
        ConfigError: naming every missing file and every name used twice.
    """
    sources: list[Source] = []
    problems = []
    for config in configs:
        if any(config.name == source.name for source in sources):
            problems.append(f"two sources are called '{config.name}'")
        try:
            sources.append(Source(config, data))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems, "sources")
    return sources


def check_skip_rate(config: SourceConfig, skips: Sequence[Skip | str], of: int, allowed: float) -> None:
    """Raises ``SkipBudgetExceeded`` when more than ``allowed`` of ``of`` rows were skipped; names the first few."""
    if len(skips) > allowed:
        first = "\n".join(f"  - {skip}" for skip in skips[:5])
        raise SkipBudgetExceeded(
            f"source '{config.name}': {len(skips)} of {of} rows cannot be used "
            f"({len(skips) / max(of, 1):.1%}, max_skip_rate is {config.max_skip_rate:.1%}). "
            f"Repair or remove them, or raise max_skip_rate. The first:\n{first}"
        )


Counted = tuple[np.ndarray, list[tuple[int, str]]]
"""Costs ``[R, 2]`` and the skipped rows as (row, reason)."""


def _count_all(source: Source, processor: Processor) -> Counted:
    rows = len(source)
    if rows < POOL_FROM or (os.cpu_count() or 1) < 2:
        return _count(source, processor, range(rows))
    step = POOL_FROM // 10
    chunks = [range(start, min(start + step, rows)) for start in range(0, rows, step)]
    with ProcessPoolExecutor(None, PROCESSES, _start_counting, (source, processor)) as pool:
        counted = list(pool.map(_count_here, chunks))
    return np.concatenate([costs for costs, _ in counted]), [skip for _, skips in counted for skip in skips]


def _count(source: Source, processor: Processor, rows: range) -> Counted:
    costs_R2 = np.zeros((len(rows), 2), np.int32)
    skips = []
    for index, row in enumerate(rows):
        try:
            cost = processor.count(source.sample(row))
            costs_R2[index] = cost.tokens, cost.tiles
        except SkipSample as skip:
            skips.append((row, skip.reason))
    return costs_R2, skips


_counting: list[Any] = []
"""Source and processor of a scanning process."""


def _start_counting(source: Source, processor: Processor) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _counting[:] = [source, processor]


def _count_here(rows: range) -> Counted:
    source, processor = _counting
    return _count(source, processor, rows)


def _save(sidecar: Path, stamp: list[int], costs_R2: np.ndarray, skips: list[tuple[int, str]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, costs=costs_R2, skips=np.frombuffer(json.dumps([stamp, skips]).encode(), np.uint8))
    try:
        write_atomic(sidecar, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"{sidecar}: cannot be written ({error}); the costs are computed again next time", stacklevel=2)


def _load(sidecar: Path, stamp: list[int]) -> Counted | None:
    """What was saved for this state of the file, if it is there and whole."""
    try:
        with np.load(sidecar) as saved:
            saved_stamp, skips = json.loads(saved["skips"].tobytes())
            return (saved["costs"], [(row, reason) for row, reason in skips]) if saved_stamp == stamp else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
