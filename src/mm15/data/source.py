"""A source: files of rows in one format, whose samples are known by address, read at random, and costed once.

What each sample costs in tokens and tiles is needed before anything is packed. It is computed from sizes alone, once,
and kept beside the data in ``<first file>.<digest>.costs.npz``; the digest names the processor, the format and what the
recipe says of the source, and data files whose size or time has changed are read again. Pictures whose rows give no
``width`` and ``height`` are opened for their header; such a picture that changes later is not noticed.

A format that makes several samples of a row (``MANY``) is walked once to count them (``.many.npz``); sample numbers
then run through the rows.

Legend: R samples.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, ValidationInfo, field_validator, model_validator

from mm15.base.catalogue import lookup
from mm15.base.config import Problems, Strict
from mm15.base.errors import ConfigError, SkipBudgetExceeded, SkipSample
from mm15.base.types import Category, Sample
from mm15.data.costs import costs_of, kept, rows_that_fit, samples_per_row, stamp_of_files
from mm15.datasets._context import RowContext, read_options
from mm15.datasets._registry import as_source
from mm15.datasets._selected import SelectedRows, Where, selected
from mm15.io.rows import OURS, ConcatRows, Rows, open_rows
from mm15.io.store import ImageStore, StoreKey

if TYPE_CHECKING:
    from mm15.processor import Processor  # heavy: reading rows needs no torch

FORMATS = "mm15.datasets"
MEDIA = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mp4", ".avi", ".mkv", ".webm", ".mov")
"""Files that are no rows, where a format reads a whole folder."""


class StoreConfig(Strict):
    """Local copies of pictures that rows name by network address: a folder, a tar file, or a pattern of tar files."""

    path: str
    """Relative to the data folder."""
    key: StoreKey = "sha256"
    """How an address becomes a name; see ``mm15.io.store``."""


class SourceConfig(Strict):
    """One data set. ``path`` and ``root`` are relative to the data folder.

    ``path`` is a file, a folder or a pattern (``shards/*.tar``); files are read in the order of their names. ``root``,
    from where rows name their pictures, is by default the folder of the files.
    """

    name: str
    dataset: str | None = Field(default=None, exclude=True)
    """A name of ``mm15 data list``: gives format, category and options, of which the recipe may set others."""
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
    options: dict[str, Any] = Field(default_factory=dict)
    """What the format may be told: its ``Options``."""
    store: StoreConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_registry(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or raw.get("dataset") is None:
            return raw
        try:
            return as_source(raw)
        except ConfigError as error:
            raise ValueError(error.problems[0]) from None

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        try:
            lookup(FORMATS, value, "format")
        except ConfigError as error:
            raise ValueError(error.problems[0]) from None
        return value

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "format" in info.data:
            try:
                read_options(lookup(FORMATS, info.data["format"], "format"), value)
            except ConfigError as error:
                raise Problems(error.problems) from None
        return value


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is not used, and why."""

    row: int
    address: str
    reason: str

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


class Source:
    """Random access to the samples of one data set. Small to send to another process: files are opened on first use.

    Args:
        config: what the recipe says.
        data: the folder that its paths start from.
        only: of the files at ``path`` only these, where the rest cannot be read.

    Raises:
        ConfigError: there is no such file, folder or store.
    """

    def __init__(self, config: SourceConfig, data: str | Path = "", only: Sequence[Path] = ()) -> None:
        self.config = config
        self.data = str(data)
        self.only = tuple(only)
        self.path = Path(data) / config.path
        problems = []
        if not self.path.exists() and not glob.glob(str(self.path), recursive=True):
            problems.append(f"source '{config.name}': no such file: {self.path}")
        self.root = str(_folder(self.path) if config.root is None else Path(data) / config.root)
        self.store = None
        if config.store:
            try:
                self.store = _open_store(config.store, data)
            except ConfigError as error:
                problems += [f"source '{config.name}': store: {problem}" for problem in error.problems]
        if problems:
            raise ConfigError(problems, "sources")
        self._last: tuple[int, list[Sample]] = (-1, [])

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def _format(self) -> ModuleType:
        return lookup(FORMATS, self.config.format, "format")

    @cached_property
    def _options(self) -> Any:
        return read_options(self._format, self.config.options)

    @cached_property
    def _many(self) -> bool:
        return bool(getattr(self._format, "MANY", False))

    @property
    def many(self) -> bool:
        """Whether a row makes several samples, or may."""
        return self._many

    @property
    def files(self) -> list[Path]:
        """The files that the rows come from."""
        return self._files

    @property
    def rows(self) -> Rows:
        """The rows as they stand in the files, before the format."""
        return self._rows

    def shard_of(self, row: int) -> tuple[Rows, int]:
        """The rows of the file that a row lies in, and its number there."""
        rows = self._rows
        if isinstance(rows, SelectedRows):
            rows, row = rows.rows, rows.place(row)
        return rows.shard_of(row) if isinstance(rows, ConcatRows) else (rows, row)

    @property
    def not_selected(self) -> int:
        """Rows of the files that the option ``where`` leaves out."""
        return len(self._all_rows) - len(self._rows)

    @property
    def has_own_rows(self) -> bool:
        """Whether the format finds rows in the files in its own way."""
        return hasattr(self._format, "open_rows")

    @cached_property
    def _rows(self) -> Rows:
        """The rows that count: all, or those that the option ``where`` selects."""
        where: Where = getattr(self._options, "where", {})
        if not where:
            return self._all_rows
        rows, stamp = self._all_rows, stamp_of_files(self._files)
        fits_R, _ = kept(self._sidecar("where"), stamp, lambda: rows_that_fit(rows, where, len(rows)))
        return selected(rows, fits_R, where)

    @cached_property
    def _all_rows(self) -> Rows:
        if self.only:
            return ConcatRows(self.only)
        if hasattr(self._format, "open_rows"):
            return self._format.open_rows(self.path, self._options)
        return open_rows(self.path)

    @cached_property
    def _files(self) -> list[Path]:
        """The files that the rows come from."""
        told = getattr(self._all_rows, "files", None)
        return [Path(file) for file in told] if told else _files_of(self.path)

    @cached_property
    def _starts(self) -> np.ndarray:
        """Number of the first sample of every row, and of all samples."""
        told = getattr(self._rows, "samples_per_row", None)
        if told is not None:
            return np.cumsum([0, *told], dtype=np.int64)
        found = kept(self._sidecar("many"), stamp_of_files(self._files), lambda: samples_per_row(self, len(self._rows)))
        return np.cumsum([0, *found[0]], dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        opened = ("_rows", "_all_rows", "_format", "_options")
        state = {name: value for name, value in self.__dict__.items() if name not in opened}
        return state | {"_last": (-1, [])}

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._many else len(self._rows)

    def _place(self, index: int) -> tuple[int, int]:
        """Row of a sample, and its number in the row."""
        if not self._many:
            return index, 0
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} samples, there is no sample {index}")
        row = int(np.searchsorted(self._starts, index, side="right")) - 1
        return row, index - int(self._starts[row])

    def address(self, index: int) -> str:
        """Where the row of a sample lies, as its file counts: ``file:line``, ``file:[i]``, ``file#row i``, ``tar:key``;
        with the sample's number in the row where it holds several."""
        row, number = self._place(index)
        address = self._rows.address(row)
        return f"{address}/{number}" if self._many else address

    def row(self, index: int) -> dict[str, Any]:
        """The row of a sample as it stands in the file. Raises ``SkipSample`` where it cannot be read."""
        return self._rows.row(self._place(index)[0])

    def sample(self, index: int) -> Sample:
        """A sample.

        Raises:
            SkipSample: its row cannot be used; carries its address.
        """
        row, number = self._place(index)
        try:
            samples = self.samples_of_row(row)
            if not self._many and len(samples) != 1:
                raise SkipSample(f"format {self.config.format} makes {len(samples)} samples of this row, expected one")
            if number >= len(samples):
                raise SkipSample(f"sample {number} of a row that now makes only {len(samples)}: did its files change?")
        except SkipSample as skip:
            raise type(skip)(skip.reason, self.address(index)) from skip
        return samples[number]

    def samples_of_row(self, row: int) -> list[Sample]:
        """All samples of a row, kept until another row is asked for. Raises ``SkipSample`` where there are none."""
        if self._last[0] != row:
            key = f"{self.name}/{row}"
            context = RowContext(self.name, self.config.category, key, self.root, self._options, self.store)
            samples = self._format.to_samples(self._rows.row(row), context)
            if not samples:
                raise SkipSample(f"format {self.config.format} makes no sample of this row")
            if not self._many:
                return samples
            self._last = (row, samples)
        return self._last[1]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the content, not with the place: sample count, size, options, and a hash of the first and last
        64 KiB of every file."""
        size, edge, digest = 0, 1 << 16, hashlib.sha256()
        for file in self._files:
            length = file.stat().st_size
            size += length
            with file.open("rb") as opened:
                digest.update(opened.read(edge))
                opened.seek(max(0, length - edge))
                digest.update(opened.read())
        if self.config.options:
            digest.update(repr(sorted(self.config.options.items())).encode())
        return f"{len(self)} rows, {size} bytes, {digest.hexdigest()[:16]}"

    def costs(self, processor: Processor) -> np.ndarray:
        """Tokens and tiles of every sample, int32 ``[R, 2]``; (0, 0) for those that cannot be used."""
        return self.scan(processor)[0]

    def scan(self, processor: Processor) -> tuple[np.ndarray, list[Skip]]:
        """``costs``, and the samples that cannot be used."""
        stores = [self.store.folder, *self.store.tars] if self.store else []
        stamp = stamp_of_files([*self._files, *filter(None, stores)])
        # "clips": sidecars from before clips were counted do not hold.
        sidecar = self._sidecar("costs", processor.fingerprint, "clips")
        costs_R2, listed = kept(sidecar, stamp, lambda: costs_of(self, processor, len(self)))
        return costs_R2, [Skip(index, self.address(index), reason) for index, reason in listed]

    def _sidecar(self, what: str, *also: str) -> Path:
        config = self.config
        told = config.store.model_dump() if config.store else None
        about = (*also, config.format, config.category, config.root, config.name, config.options, told, config.path)
        first = self._files[0] if self._files else self.path
        return first.with_name(f"{first.name}.{hashlib.sha256(repr(about).encode()).hexdigest()[:12]}.{what}.npz")


def _folder(path: Path) -> Path:
    """The folder that rows name their pictures from: of a file, the folder itself, or the part before a pattern."""
    if path.is_dir():
        return path
    if path.exists():
        return path.parent
    fixed = path
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    return fixed


def _files_of(path: Path) -> list[Path]:
    """The files of a path but media, hidden files and our own, sorted; of a folder with those below it."""
    if path.is_file():
        return [path]
    found = [Path(name) for name in glob.glob(str(path), recursive=True)] if not path.is_dir() else []
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith(".") and not name.endswith(OURS))
        found += [Path(folder) / name for name in names]
    kept_out = (*OURS, *MEDIA)
    return sorted(
        file
        for file in found
        if file.is_file() and not file.name.startswith(".") and not file.name.lower().endswith(kept_out)
    )


def _open_store(config: StoreConfig, data: str | Path) -> ImageStore:
    path = Path(data) / config.path
    found = [path] if path.exists() else sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise ConfigError([f"no such folder or tar file: {path}"], "store")
    return ImageStore(found[0] if len(found) == 1 else found, config.key)


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
