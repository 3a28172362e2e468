"""JSON lines: one object per line, in order or by row number. Blank lines are not rows, but they count as lines."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mm15.base.errors import SkipSample
from mm15.io.atomic import open_atomic
from mm15.io.index import kept_table, stamp_of


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

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        stamp = stamp_of(self.path)
        self._size = stamp[0]
        self._rows = kept_table(Path(f"{self.path}.idx"), stamp, 2, lambda: _scan(self.path))

    @cached_property
    def _file(self) -> BinaryIO:
        # One handle for all rows: opening the file anew costs ten times what reading a row does.
        return open(self.path, "rb", buffering=0)

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return JsonlIndex, (self.path,)

    def address(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.path}:{self.line(row)}"

    def line(self, row: int) -> int:
        """The line of a row, from 1."""
        return self._place(row)[1]

    def row_bytes(self, row: int) -> bytes:
        """The bytes of a row, its line end included. Raises ``IndexError`` beyond the last row."""
        offset = self._place(row)[0]
        end = int(self._rows[row + 1, 0]) if row + 1 < len(self) else self._size
        data = os.pread(self._file.fileno(), end - offset, offset)
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

    def _place(self, row: int) -> tuple[int, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        offset, line = self._rows[row].tolist()
        return offset, line


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
