"""Rows that are not lines of one file: annotation files joined once, kept beside them as JSON lines.

A COCO file holds pictures and annotations side by side, Flickr30k Entities is a folder of small files, ActivityNet-QA
keeps questions and answers apart. Such a set is joined when it is first opened; the joined rows lie in
``<path>.<digest>.rows`` and are read at random from there, so that no process holds the whole set. The digest names
the options. A changed annotation file is joined again; of a folder only files that come or go are noticed. Where the
folder is read-only the rows are kept in memory.
"""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipSample
from mm15.io.atomic import open_atomic, write_atomic
from mm15.io.jsonl import JsonlIndex

ADDRESS = "__at__"
"""Where a joined row came from, in the words of the original files."""
DEFECT = "__defect__"
"""Why a joined row cannot be used."""

Make = Callable[[Path, Any], Iterable[dict[str, Any]]]
"""(path, options) → rows; each may carry ``ADDRESS`` and ``DEFECT``. A function of a module, so that it can travel."""


@dataclass(frozen=True)
class JoinedRows:
    """Rows made from ``sources`` by ``make(path, options)``. Pickles as paths only.

    Args:
        path: the file or folder that the recipe names; what is kept lies beside it.
        options: the format's options.
        make: makes all rows, in an order that depends on the files only.
        sources: the files and folders that are read: a change in one of them makes the rows anew.

    Raises:
        ConfigError: a file is missing or is not what the format says.
    """

    path: Path
    options: Strict
    make: Make
    sources: tuple[Path, ...]

    def __post_init__(self) -> None:
        missing = [f"no such file or folder: {file}" for file in self.sources if not file.exists()]
        if missing:
            raise ConfigError(missing, f"{self.path}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def files(self) -> list[Path]:
        """The files that stand for the rows; for folders of many small files, what was made of them."""
        files = [source for source in self.sources if source.is_file()]
        made = self._file if len(files) < len(self.sources) and len(self) else None
        return [made, *files] if made and made.is_file() else files

    @property
    def _file(self) -> Path:
        about = (str(self.make.__module__), str(self.make.__qualname__), self.options.model_dump_json())
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.name}.{digest}.rows")

    def address(self, row: int) -> str:
        """The path and, in its own words, the place of a row."""
        return f"{self.path}:{self._kept.row(row).get(ADDRESS, f'[{row}]')}"

    def row(self, row: int) -> dict[str, Any]:
        """A joined row.

        Raises:
            IndexError: there is no such row.
            SkipSample: the original files contradict themselves here; says how and where.
        """
        found = self._kept.row(row)
        if DEFECT in found:
            raise SkipSample(found[DEFECT], self.address(row))
        return {name: value for name, value in found.items() if name != ADDRESS}

    @cached_property
    def _kept(self) -> JsonlIndex | _InMemory:
        stamp = [[found.st_size, found.st_mtime_ns] for found in (file.stat() for file in self.sources)]
        file = self._file
        if not file.is_file() or _stamp_of(file) != stamp:
            try:
                _write(file, stamp, self.make(self.path, self.options))
            except OSError as error:
                warnings.warn(f"{file}: cannot be written ({error}); its rows are kept in memory", stacklevel=2)
                return _InMemory([json.loads(json.dumps(row)) for row in self.make(self.path, self.options)])
        return JsonlIndex(file)


class _InMemory:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, row: int) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise IndexError(f"there are {len(self)} rows, there is no row {row}")
        return self._rows[row]


def _write(file: Path, stamp: list[list[int]], rows: Iterable[dict[str, Any]]) -> None:
    """The rows, then the stamp: rows without theirs are made again. It lies apart, as rows are the same anywhere."""
    with open_atomic(file) as out:
        for row in rows:
            out.write(json.dumps(row).encode() + b"\n")
    write_atomic(_stamp_file(file), json.dumps(stamp))


def _stamp_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.stamp")


def _stamp_of(file: Path) -> Any:
    try:
        return json.loads(_stamp_file(file).read_bytes())
    except (OSError, ValueError):
        return None


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises ``ConfigError`` if it is none (not UTF-8 either)."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"not valid JSON: {error}"], str(path)) from error


def records(value: object, where: str) -> list[dict[str, Any]]:
    """A list of JSON objects. Raises ``ConfigError`` if it is none."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError([f"expected a list of objects, found {type(value).__name__}"], where)
    return value


def read_csv(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number from 1, row) of a CSV file with a header line.

    Raises:
        ConfigError: a column is missing, or the file is not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if missing:
                has = ", ".join(reader.fieldnames or []) or "none"
                raise ConfigError([f"no column '{name}'; columns: {has}" for name in missing], str(path))
            for row in reader:
                yield reader.line_num, {name: value for name, value in row.items() if name}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError([f"not readable as CSV: {error}"], str(path)) from error


def read_ids(path: Path) -> list[str]:
    """The ids of a split file, one a line, in order. Raises ``ConfigError`` if there is no such file."""
    if not path.is_file():
        raise ConfigError([f"no such split file: {path}; set options.split to '' to use everything"], str(path))
    return path.read_text(encoding="utf-8").split()
