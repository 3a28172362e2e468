"""Rows of Parquet and Arrow files by number: memory-mapped, decoded one row group (record batch) at a time.

A row is plain Python: a struct is a dict, so a picture of a Hugging Face data set is ``{"bytes": b"...", "path":
"..."}``. Decoded row groups are kept up to ``CACHE_BYTES`` for the whole process. A group that is larger than
``LARGE_GROUP`` is walked in slices instead: in order that costs nothing more, at random it costs about half the group
per row; rewrite such files with row groups of some hundred rows. Needs the extra ``parquet`` (pyarrow).
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mm15.base.errors import ConfigError, MissingExtra, SkipSample

CACHE_BYTES = 256 << 20
LARGE_GROUP = 128 << 20
SLICE_BYTES = 16 << 20
"""Of a large group decoded at a time, about."""


class _Cache:
    """Decoded row groups of all open files, the last used first, up to ``CACHE_BYTES``."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[Any, ...]) -> Any:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple[Any, ...], table: Any) -> None:
        self._kept[key] = table
        self._bytes += table.nbytes
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes


_cache = _Cache()


class _Grouped(ABC):
    """Rows in groups; the subclass decodes a group."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        found = self.path.stat()
        self._key = (str(self.path), found.st_size, found.st_mtime_ns)
        self._broken: dict[int, str] = {}
        _pyarrow()
        try:
            self._starts = np.cumsum([0, *self._group_lengths()])
        except self._errors as error:
            raise ConfigError([f"{self.path}: cannot be read as {self.path.suffix[1:]}: {error}"], "sources") from error

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return type(self), (self.path,)

    def address(self, row: int) -> str:
        """``file#row i``."""
        return f"{self.path}#row {row}"

    def row(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming file and row, where its row group is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        inner = row - int(self._starts[group])
        if group in self._broken:
            raise SkipSample(self._broken[group], self.address(row))
        try:
            found = self._one(group, inner)
        except self._errors as error:
            reason = f"row group {group} cannot be decoded: {error}"
            self._broken[group] = reason
            raise SkipSample(reason, self.address(row)) from error
        try:
            return found.to_pylist()[0]
        except self._errors as error:
            raise SkipSample(f"cannot be decoded: {error}", self.address(row)) from error

    @property
    @abstractmethod
    def schema(self) -> Any:
        """The ``pyarrow.Schema`` of the file."""

    def tables(self, wanted: Callable[[range], bool]) -> Iterator[tuple[range, Any]]:
        """(numbers of its rows, its ``pyarrow.Table`` or record batch) of every group that is wanted."""
        for group, (start, end) in enumerate(itertools.pairwise(self._starts.tolist())):
            if wanted(range(start, end)):
                yield range(start, end), self._read(group)

    def _one(self, group: int, inner: int) -> Any:
        """A table of one row."""
        key = (*self._key, group)
        table = _cache.get(key)
        if table is None:
            table = self._read(group)
            _cache.put(key, table)
        return table.slice(inner, 1)

    @abstractmethod
    def _group_lengths(self) -> list[int]:
        """Rows of every group."""

    @abstractmethod
    def _read(self, group: int) -> Any:
        """A whole group."""

    @property
    def _errors(self) -> tuple[type[BaseException], ...]:
        return (_pyarrow().ArrowException, OSError, ValueError, KeyError, NotImplementedError)


class ParquetRows(_Grouped):
    """The rows of a Parquet file. Pickled as its path.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: not a Parquet file, or cut off.
        MissingExtra: pyarrow is not installed.
    """

    _walk: tuple[int, int, Any, Any] | None = None
    """Group that is walked, first row and table of the current slice, and the iterator over those that follow."""

    @cached_property
    def _file(self) -> Any:
        _pyarrow()
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self.path, memory_map=True, page_checksum_verification=True)

    def _group_lengths(self) -> list[int]:
        metadata = self._file.metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    @property
    def schema(self) -> Any:
        """The ``pyarrow.Schema`` of the file, with the notes of who wrote it."""
        return self._file.schema_arrow

    def _read(self, group: int) -> Any:
        # Loader workers are processes enough.
        return self._file.read_row_group(group, use_threads=False)

    def _one(self, group: int, inner: int) -> Any:
        about = self._file.metadata.row_group(group)
        if about.total_byte_size <= LARGE_GROUP:
            return super()._one(group, inner)
        walked = self._walk
        if walked is None or walked[0] != group or inner < walked[1]:
            count = max(1, about.num_rows * SLICE_BYTES // about.total_byte_size)
            slices = self._file.iter_batches(batch_size=count, row_groups=[group], use_threads=False)
            walked = (group, 0, next(slices), slices)
        _, start, table, slices = walked
        while inner >= start + table.num_rows:
            start += table.num_rows
            table = next(slices, None)
            if table is None:
                self._walk = None
                raise ValueError(f"{about.num_rows} rows announced, {start} found")
        self._walk = (group, start, table, slices)
        return table.slice(inner - start, 1)


class ArrowRows(_Grouped):
    """The rows of an Arrow IPC file or stream, as the ``datasets`` library keeps them. Pickled as its path.

    A stream has no index: its batches are listed when it is opened, mapped and not copied unless they are compressed.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: not an Arrow file, or cut off.
        MissingExtra: pyarrow is not installed.
    """

    @cached_property
    def _reader(self) -> Any:
        """A reader with ``get_batch`` for a file, an iterator over batches for a stream."""
        _pyarrow()
        import pyarrow
        import pyarrow.ipc

        with self.path.open("rb") as file:
            indexed = file.read(6) == b"ARROW1"
        mapped = pyarrow.memory_map(str(self.path))
        return pyarrow.ipc.open_file(mapped) if indexed else pyarrow.ipc.open_stream(mapped)

    @cached_property
    def _batches(self) -> Any:
        """A reader with ``get_batch`` for a file, a list of batches for a stream."""
        return self._reader if hasattr(self._reader, "get_batch") else list(self._reader)

    def _group_lengths(self) -> list[int]:
        if isinstance(self._batches, list):
            return [batch.num_rows for batch in self._batches]
        return [self._batches.get_batch(group).num_rows for group in range(self._batches.num_record_batches)]

    @property
    def schema(self) -> Any:
        """The ``pyarrow.Schema`` of the file, with the notes of who wrote it."""
        return self._reader.schema

    def _read(self, group: int) -> Any:
        return self._batches[group] if isinstance(self._batches, list) else self._batches.get_batch(group)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", "reading .parquet and .arrow files") from None
    return pyarrow
