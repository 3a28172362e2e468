"""Rows by number, whatever file they lie in: the one door from data files to formats.

``open_rows`` chooses the reader by the name of the file: ``.jsonl``/``.ndjson`` (also ``.gz``, ``.zst``, ``.zip`` of
them), ``.json``, ``.parquet``, ``.arrow``, ``.tar``, ``.csv``, ``.tsv``. A folder or a pattern is all its files of one
kind, sorted by name, end to end.
"""

from __future__ import annotations

import bisect
import glob
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from mm15.base.errors import ConfigError
from mm15.io.csv_rows import CsvRows
from mm15.io.json_array import JsonArray
from mm15.io.jsonl import JsonlIndex
from mm15.io.parquet import ArrowRows, ParquetRows
from mm15.io.tar import TarRows
from mm15.io.unpack import open_packed

SHARDS_OPEN = 64
"""Shards whose readers are kept at a time."""
OURS = (".idx", ".npz", ".unpacked", ".rows", ".stamp", ".tmp")
"""Ends of the names of what is kept beside data files; never data."""


class Rows(Protocol):
    """Rows by number. Pickled as paths only, and opened again on first use, so that it is cheap to send elsewhere.

    Rows that come from other files than the path that was opened may say so in ``files``, a list of paths: whoever
    keeps something computed from the rows then knows when it is out of date.
    """

    def __len__(self) -> int: ...

    def row(self, row: int, /) -> dict[str, Any]:
        """The row. Raises ``IndexError`` beyond the last, ``SkipSample`` with its address where it cannot be read."""
        ...

    def address(self, row: int, /) -> str:
        """Where the row lies: ``file:line``, ``file:[i]``, ``file#row i`` or ``shard.tar:key``."""
        ...


KINDS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": JsonlIndex,
    ".ndjson": JsonlIndex,
    ".json": JsonArray,
    ".parquet": ParquetRows,
    ".arrow": ArrowRows,
    ".tar": TarRows,
    ".csv": CsvRows,
    ".tsv": CsvRows,
    **{f"{kind}{packed}": open_packed for kind in (".jsonl", ".ndjson") for packed in (".gz", ".zst", ".zip")},
}


def open_rows(path: str | Path) -> Rows:
    """The rows of a file, of a folder, or of all files that match a pattern (``*``, ``?``, ``[]``, ``**``).

    Raises:
        ConfigError: nothing there, files of several kinds, an unknown kind, or a file that is not what its name says.
        MissingExtra: the kind needs a package that is not installed.
    """
    files = find_files(path)
    return KINDS[kind_of(files[0])](files[0]) if len(files) == 1 else ConcatRows(files)


def find_files(path: str | Path) -> list[Path]:
    """The data files that ``open_rows`` reads, sorted by name. Raises ``ConfigError`` as it does."""
    path = Path(path)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        # Not below: there are the pictures.
        files = sorted(file for file in path.iterdir() if _is_data(file) and kind_of(file))
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in files if _is_data(file)]
    if not files:
        told = f"{path}: no files of rows here{_hint(path)}" if path.is_dir() else f"no such file: {path}"
        raise ConfigError([told], "sources")
    by_kind: dict[str, list[Path]] = {}
    for file in files:
        by_kind.setdefault(kind_of(file), []).append(file)
    if "" in by_kind:
        known = ", ".join(KINDS)
        raise ConfigError([f"{by_kind[''][0]}: rows are not read from files of this name; known: {known}"], "sources")
    if len(by_kind) > 1:
        found = ", ".join(f"{len(named)} {kind}" for kind, named in by_kind.items())
        pattern = (path if path.is_dir() else path.parent) / f"*{max(by_kind, key=lambda kind: len(by_kind[kind]))}"
        raise ConfigError([f"{path}: files of several kinds ({found}); name one, like '{pattern}'"], "sources")
    return files


def kind_of(path: Path) -> str:
    """The key of ``KINDS`` for a file's name, the longest that fits; empty if there is none."""
    name = path.name.lower()
    return max((kind for kind in KINDS if name.endswith(kind)), key=len, default="")


def _is_data(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and not path.name.endswith(OURS)


def _hint(folder: Path) -> str:
    below = sorted({kind_of(file) for file in itertools.islice(folder.glob("*/*"), 10_000)} - {""})
    return f"; there are some below: '{folder}/**/*{below[0]}'" if below else f"; known: {', '.join(KINDS)}"


class ConcatRows:
    """Files of one kind end to end: row numbers run on from one to the next. A few readers are open at a time.

    Args:
        files: in the order in which they are numbered.
        reader: opens one of them; by default the one for its name.

    Raises:
        ConfigError: a file is not what its name says.
    """

    def __init__(self, files: Sequence[Path], reader: Callable[[Path], Rows] | None = None) -> None:
        self.files = list(files)
        self._reader = reader
        self._open: OrderedDict[int, Rows] = OrderedDict()
        self._ends = list(itertools.accumulate(len(self._shard(number)) for number in range(len(self.files))))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __reduce__(self) -> tuple[type[ConcatRows], tuple[list[Path], Callable[[Path], Rows] | None]]:
        return ConcatRows, (self.files, self._reader)

    def shards(self) -> Iterator[tuple[int, Rows]]:
        """(number of its first row, its rows) of every file."""
        for number, end in enumerate(self._ends):
            shard = self._shard(number)
            yield end - len(shard), shard

    def row(self, row: int) -> dict[str, Any]:
        """The row. Raises what the reader of its file raises, and ``IndexError``."""
        shard, inner = self.shard_of(row)
        return shard.row(inner)

    def address(self, row: int) -> str:
        """Where the row lies in its file."""
        shard, inner = self.shard_of(row)
        return shard.address(inner)

    def shard_of(self, row: int) -> tuple[Rows, int]:
        """The rows of the file that a row lies in, and its number there."""
        if not 0 <= row < len(self):
            raise IndexError(f"{self.files[0]} and the files with it have {len(self)} rows, there is no row {row}")
        number = bisect.bisect_right(self._ends, row)
        return self._shard(number), row - (self._ends[number - 1] if number else 0)

    def _shard(self, number: int) -> Rows:
        shard = self._open.pop(number, None)
        if shard is None:
            file = self.files[number]
            shard = self._reader(file) if self._reader else KINDS[kind_of(file)](file)
        self._open[number] = shard
        if len(self._open) > SHARDS_OPEN:
            self._open.popitem(last=False)
        return shard
