"""JSON lines: one object per line, in order or by row number. Blank lines are not rows, but they count as lines."""

from __future__ import annotations

import json
import mmap
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mm15.base.errors import MM15Error, SkipSample
from mm15.io.atomic import open_atomic
from mm15.io.index import kept_table, stamp_of

TRUSTED_SECONDS = 0.001
"""How long the length of a mapped file is taken for granted."""
STRIDE = 16 << 20
WALK = 32 << 20
"""Bytes: steps forward of up to ``STRIDE`` are a walk through the file, whose pages are given back every ``WALK``."""


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, row) of every row of a file.

    Raises:
        SkipSample: naming file:line, where a line is not a JSON object.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield number, decode_row(line, f"{path}:{number}")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a whole new file, atomically.

    Raises:
        ValueError: a value that JSON or UTF-8 does not have (NaN, infinity, half a surrogate pair).
    """
    with open_atomic(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")


class JsonlIndex:
    """Rows of a JSONL file by number, without holding the file.

    The places of the rows lie in ``<file>.idx``, an int64 ``.npy`` array [rows + 1, 2]: first (size, mtime in ns) of
    the file it was made from, then (byte offset, line number) per row. It is written once, memory-mapped, and made
    anew when the file has changed. Where the folder is read-only it is kept in memory. A pickled index travels as its
    path only.

    The file is mapped into memory when the first row is read: a call to the system for each row costs more than all
    the rest. To touch the map beyond the end of a file that has become shorter would end the process (SIGBUS), so its
    length is looked at again before a row is read, unless that was done within the last millisecond. Pages of a map
    count as memory of the process that touched them; whoever walks through a file gives them back on the way.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        stamp = stamp_of(self.path)
        rows = kept_table(Path(f"{self.path}.idx"), stamp, 2, lambda: _scan(self.path))
        # Views, because an element of a view is a plain int and costs a third of an element of an array.
        self._offsets, self._lines = rows[:, 0].data, rows[:, 1].data
        self._size = stamp[0]
        self._last = len(rows) - 1
        # Without blank lines a row ends where the next begins, and need not be searched for its end.
        self._dense = len(rows) > 0 and self._lines[-1] == len(rows)
        self._map: mmap.mmap | None = None
        self._trusted = 0.0
        self._at = self._walked = 0

    def __len__(self) -> int:
        return self._last + 1

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return JsonlIndex, (self.path,)

    def address(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.path}:{self.line(row)}"

    def line(self, row: int) -> int:
        """The line of a row, from 1."""
        if not 0 <= row <= self._last:
            raise self._beyond(row)
        return self._lines[row]

    def row_bytes(self, row: int) -> bytes:
        """The bytes of a row, its line end included.

        Raises:
            IndexError: there is no such row.
            MM15Error: the file has become shorter since it was opened.
        """
        # This runs once for every row that is drawn: no calls but these.
        if not 0 <= row <= self._last:
            raise self._beyond(row)
        mapped, now = self._map, time.monotonic()
        if mapped is None or now > self._trusted:
            mapped = self._checked_map(self._offsets[row])
            self._trusted = now + TRUSTED_SECONDS
        if row < self._last:
            data = mapped[self._offsets[row] : self._offsets[row + 1]]
            if self._dense:
                return data
        else:
            data = mapped[self._offsets[row] : self._size]
        # Blank lines may follow; they are no part of the row.
        length = data.find(b"\n") + 1
        return data[:length] if length else data

    def row(self, row: int) -> dict[str, Any]:
        """A decoded row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming file:line, where the line is not a JSON object.
        """
        return decode_row(self.row_bytes(row), self.address(row))

    def _checked_map(self, offset: int) -> mmap.mmap:
        """The map of a file that is still as long as it was; ``offset`` is where it will be read."""
        if self._map is None:
            with open(self.path, "rb") as file:
                self._check_length(os.fstat(file.fileno()).st_size)
                self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        else:
            self._check_length(self._map.size())
        step, self._at = offset - self._at, offset
        if step < 0:
            self._walked = 0
        elif step <= STRIDE:
            self._walked += step
        if self._walked > WALK and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)  # They stay in the cache of the system.
            self._walked = 0
        return self._map

    def _check_length(self, size: int) -> None:
        if size < self._size:
            raise MM15Error(
                f"{self.path}: became shorter while it was in use: {size} bytes instead of {self._size}. Put it back "
                f"as it was, or start again with the new one; a file in use may be replaced (mv), not written over"
            )

    def _beyond(self, row: int) -> IndexError:
        return IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")


def decode_row(line: bytes, address: str) -> dict[str, Any]:
    """A line as a row. Raises ``SkipSample`` with ``address`` where it is not a JSON object."""
    try:
        row = json.loads(line, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError) as error:
        raise SkipSample(f"not valid JSON: {error}", address) from error
    if not isinstance(row, dict):
        raise SkipSample(f"expected a JSON object, found {type(row).__name__}", address)
    return row


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ``ValueError`` where a field stands twice: JSON readers differ in which one they take."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the field {', '.join(map(repr, twice))} stands twice in one object")
    return fields


def scan_lines(file: BinaryIO) -> np.ndarray:
    """(byte offset, line from 1) of every line that is not blank, int64 ``[rows, 2]``."""
    places = array("q")
    offset = 0
    for number, line in enumerate(file, 1):
        if not line.isspace():
            places.append(offset)
            places.append(number)
        offset += len(line)
    return np.frombuffer(places, dtype=np.int64).reshape(-1, 2)


def _scan(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        return scan_lines(file)
