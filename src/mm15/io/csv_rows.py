"""Rows of a CSV or TSV file with a header line, by number. Quoted cells may hold line ends."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mm15.base.errors import ConfigError, SkipSample
from mm15.io.index import kept_table, stamp_of

MAX_CELL = 64 << 20
"""Bytes of one cell: TSV files of benchmarks hold whole pictures in base64."""


class CsvRows:
    """The rows of a file as ``{column: text}``. Every cell is text; nothing is converted, an empty cell is ``""``.

    The places of the rows lie in ``<file>.idx`` (with quoting) or ``<file>.plain.idx``, as those of JSON lines do.
    Pickled as its path.

    Args:
        path: the file, UTF-8. Cells are parted by tabs in ``.tsv`` files, by commas otherwise.
        quoting: cells in double quotes may hold anything, a quote doubled (RFC 4180). Without it quotes are characters
            like others and every line is a row, as in WikiTableQuestions.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: no header line, or one with empty or repeated names.
    """

    def __init__(self, path: str | Path, quoting: bool = True) -> None:
        self.path = Path(path)
        self.quoting = quoting
        # A setting of the process; a larger limit than ours, set by others, stays.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
        stamp = stamp_of(self.path)
        sidecar = self.path.with_name(f"{self.path.name}{'' if quoting else '.plain'}.idx")
        self._table = kept_table(sidecar, stamp, 2, self._scan)
        if len(self._table) < 2:
            raise ConfigError([f"{self.path}: no header line"], "sources")

    def __len__(self) -> int:
        return len(self._table) - 2

    def __reduce__(self) -> tuple[type[CsvRows], tuple[Path, bool]]:
        return CsvRows, (self.path, self.quoting)

    def address(self, row: int) -> str:
        """``file:line`` of the line where a row begins."""
        return f"{self.path}:{self._table[self._checked(row) + 1, 1]}"

    def row(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming file:line: not UTF-8, an open quote, or not as many cells as there are columns.
        """
        try:
            cells = self._cells(self._checked(row) + 1)
        except (csv.Error, UnicodeDecodeError) as error:
            raise SkipSample(f"not a row of {self.path.suffix[1:]}: {error}", self.address(row)) from error
        if len(cells) != len(self.columns):
            raise SkipSample(f"{len(cells)} cells for {len(self.columns)} columns", self.address(row))
        return dict(zip(self.columns, cells, strict=True))

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns."""
        try:
            names = self._cells(0)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError([f"{self.path}: the header line cannot be read: {error}"], "sources") from error
        if not all(names) or len(set(names)) != len(names):
            raise ConfigError([f"{self.path}: empty or repeated column names in the header line {names}"], "sources")
        return names

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        return row

    def row_bytes(self, row: int) -> bytes:
        """The bytes of a row, its line end included; of row -1 the header line's."""
        start, end = self._table[(self._checked(row) if row >= 0 else -1) + 1 :, 0][:2].tolist()
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def _cells(self, record: int) -> list[str]:
        text = self.row_bytes(record - 1).decode("utf-8-sig" if self._table[record, 0] == 0 else "utf-8")
        return next(self._reader(io.StringIO(text, newline="\n")), [])

    def _reader(self, lines: Iterable[str]) -> Any:
        quoting = csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE
        delimiter = "\t" if self.path.suffix.lower() == ".tsv" else ","
        return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)

    def _scan(self) -> np.ndarray:
        """(byte offset, line from 1) of every record, the header first; last (size of the file, 0)."""
        places = array("q")
        with self.path.open("rb") as file:
            lines = _Lines(file)
            while line := lines.peek():
                if not line.strip(b"\r\n"):
                    lines.take()
                    continue
                places.extend((lines.offset, lines.number))
                after = lines.offset + len(line), lines.number + 1
                try:
                    next(self._reader(lines))
                except csv.Error:
                    # A quote that is never closed takes one line with it, not the rest of the file.
                    lines.back(*after)
            places.extend((lines.offset, 0))
        return np.frombuffer(places, np.int64).reshape(-1, 2)


class _Lines:
    """The lines of a file with the place of the next one. Bytes that are not UTF-8 pass: they are refused by row."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.back(0, 1)

    def back(self, offset: int, number: int) -> None:
        self.offset, self.number = offset, number
        self._file.seek(offset)
        self._next = self._file.readline()

    def peek(self) -> bytes:
        return self._next

    def take(self) -> bytes:
        line = self._next
        self.offset += len(line)
        self.number += 1
        self._next = self._file.readline()
        return line

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._next:
            raise StopIteration
        return self.take().decode("utf-8", "surrogateescape")
