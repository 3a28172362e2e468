"""The official files of a benchmark, as users have them: found, checked, and read row by row.

A benchmark's files lie in ``DIR/<name of the benchmark>``. It lists the shapes in which they are handed out
(``Release``); the first whose files are there is read. A missing column, another split, an absent picture or another
number of rows stops with what was expected and what was found, all problems together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mm15.base.errors import ConfigError, DataError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Category, ImagePart, VideoPart
from mm15.datasets._context import RowContext
from mm15.evals.items import Item
from mm15.io.cells import CELLS, cell, listed_texts
from mm15.io.json_array import JsonArray
from mm15.io.jsonl import JsonlIndex, unique_fields
from mm15.io.rows import KINDS, ConcatRows, Rows, find_files, kind_of

SHOWN = 20
"""Problems named one by one."""
BORROWED = 64
"""A picture cell of a VLMEvalKit table that is no longer than this is the index of the row that holds the picture."""


@dataclass(frozen=True, slots=True)
class Release:
    """One shape in which the official files are handed out.

    Args:
        files: patterns below the benchmark's folder; all files that match one pattern are read end to end, by name.
        columns: what every row must have.
        rows: the official number of rows after ``only``; 0: not fixed.
        pictures: columns that hold encoded pictures, one or a list; they arrive as ``MediaRef``, not as bytes.
        only: column → value of the rows that belong to this benchmark; the others are passed over.
        field: where the rows lie in a JSON object.
        form: what a JSON file holds where its name does not say: ``lines`` (a row per line), or ``keyed`` (an object
            whose fields are the rows; a row's name becomes its column ``key``).
        name: tells shapes apart in the benchmark's own code.
        open: makes the rows of a file that is not one of rows (a pickle, a split list of a folder of small files).
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int = 0
    pictures: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    field: str = ""
    form: str = ""
    name: str = ""
    open: Callable[[Path], Rows] | None = None


@dataclass(frozen=True, slots=True)
class RowAt(RowContext):
    """What ``datasets`` formats know of a row, and its place among the benchmark's rows."""

    number: int = 0
    """Counted from 0 over all files, in their order."""
    file: str = ""
    """Name of the file it lies in."""


Make = Callable[[dict[str, Any], RowAt, Release], "Item | Sequence[Item]"]


@dataclass(frozen=True, slots=True)
class Files:
    """Where a benchmark's files lie, and how they are read.

    ``partial`` allows fewer rows than the official number; the report says so. ``options`` is an instance of the
    benchmark's ``Options``.
    """

    benchmark: str
    root: Path
    partial: bool = False
    options: Any = None

    @property
    def folder(self) -> Path:
        """The benchmark's own folder."""
        return self.root / self.benchmark

    def place(self, file: str = "") -> Path:
        """Where the benchmark lies: its folder, or its one file in the data folder."""
        return self.root / file if file else self.folder

    def there(self, file: str = "") -> bool:
        """Whether anything lies there."""
        return self.place(file).exists()

    def release(self, releases: Sequence[Release]) -> tuple[Release, list[Path]]:
        """The first shape whose files are there, and all of them.

        Raises:
            DataError: none; what is looked for and what lies in the folder.
        """
        for release in releases:
            for pattern in release.files:
                there = (file for file in self.folder.glob(pattern) if file.is_file())
                found = sorted(file for file in there if release.open or kind_of(file))
                if found:
                    return release, found
        looked = " or ".join(pattern for release in releases for pattern in release.files)
        lying = sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())
        told = ", ".join(lying[:8]) + (f" and {len(lying) - 8} more" if len(lying) > 8 else "") if lying else "nothing"
        raise DataError(f"{self.benchmark}: no {looked} in {self.folder}; found {told}")

    def items(self, releases: Sequence[Release], make: Make) -> list[Item]:
        """The items of all rows, in file order.

        Args:
            make: one row → its item or items. It may raise ``SkipSample``; a question that cannot be used cannot be
                left out either, so all such rows are reported together and stop the evaluation.

        Raises:
            DataError: see above.
        """
        release, files = self.release(releases)
        items: list[Item] = []
        problems: list[str] = []
        count = 0
        for file, number, row in self._rows(release, files, problems):
            key = f"{self.benchmark}/{count}"
            context = RowAt(self.benchmark, Category.GENERAL, key, str(self.folder), number=count, file=str(file.name))
            count += 1
            try:
                made = make(row, context, release)
                items += [made] if isinstance(made, Item) else made
            except SkipSample as error:
                problems.append(f"{file}, row {number}: {error}")
        if release.rows and count != release.rows and not (self.partial and 0 < count < release.rows):
            problems.append(
                f"{count} rows where the official {files[0].name} has {release.rows}; get the whole file, or say that "
                "it is a part of it (--partial), which the report will show"
            )
        problems += _absent(items)
        if problems or not items:
            raise DataError(_told(self.benchmark, files[0], problems or ["no rows"]))
        return items

    def draw(self, releases: Sequence[Release], make: Make, count: int, seed: int) -> list[Item]:
        """Items of ``count`` rows drawn at random, in the order of the draw; the other rows are not read.

        The draw depends on ``seed``, the benchmark's name and the number of rows only. Where there are fewer rows, all
        are drawn. ``make`` gives one item; no item passes the row over, and another is drawn.

        Raises:
            DataError: see ``items``.
        """
        release, files = self.release(releases)
        try:
            opened = [(file, rows := _opened(file, release), _Borrowed(rows)) for file in files]
        except ConfigError as error:
            raise DataError(_told(self.benchmark, files[0], error.problems)) from error
        places = [(shard, number) for shard, (_, rows, _) in enumerate(opened) for number in range(len(rows))]
        order = numpy_rng(seed, "rows", self.benchmark).permutation(len(places)).tolist()
        drawn: list[Item] = []
        problems: list[str] = []
        while order and len(drawn) < count and not problems:
            chosen, order = order[: count - len(drawn)], order[count - len(drawn) :]
            found: dict[int, list[Item]] = {}
            for place in sorted(chosen):  # in the order of the files, because Parquet is decoded by groups
                (file, rows, borrowed), number = opened[places[place][0]], places[place][1]
                key = f"{self.benchmark}/drawn/{place}"
                context = RowAt(self.benchmark, Category.GENERAL, key, str(self.folder), number=place, file=file.name)
                try:
                    row = _belonging(rows, file, number, release, borrowed, {})
                except (SkipSample, _NoColumn) as error:
                    problems.append(str(error))
                    continue
                try:
                    made = [] if row is None else make(row, context, release)
                    found[place] = [made] if isinstance(made, Item) else list(made)
                except SkipSample as error:
                    problems.append(f"{file}, row {number}: {error}")
            drawn += [item for place in chosen for item in found.get(place, [])]
        problems += _absent(drawn)
        if problems:
            raise DataError(_told(self.benchmark, files[0], list(dict.fromkeys(problems))))
        return drawn

    def _rows(
        self, release: Release, files: Sequence[Path], problems: list[str]
    ) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        """(file, number in it, row) of every row that belongs to the benchmark."""
        passed: dict[str, set[str]] = {}
        kept = 0
        for file in files:
            try:
                rows = _opened(file, release)
                count = len(rows)
            except ConfigError as error:
                problems += error.problems
                continue
            borrowed = _Borrowed(rows)
            for number in range(count):
                try:
                    row = _belonging(rows, file, number, release, borrowed, passed)
                except _NoColumn as error:
                    problems.append(str(error))
                    break  # the others of this file would say the same
                except SkipSample as error:
                    problems.append(str(error))
                    continue
                if row is not None:
                    kept += 1
                    yield file, number, row
        if not kept and passed:
            found = "; ".join(f"{name}: {', '.join(sorted(values)[:8])}" for name, values in passed.items())
            problems.append(f"no row with {dict(release.only)}, another split or subset? Found {found}")


def read_rows(path: Path, field: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, row) of a side file, such as the captions that belong to a benchmark's questions.

    Raises:
        DataError: no such file, or unusable rows.
    """
    try:
        files = find_files(path)
        rows = _open(files[0], field) if field else ConcatRows(files)
        for number in range(len(rows)):
            yield number, rows.row(number)
    except (ConfigError, SkipSample) as error:
        raise DataError(str(error)) from error


def _opened(file: Path, release: Release) -> Rows:
    return release.open(file) if release.open else _open(file, release.field, release.form)


def _open(file: Path, field: str, form: str = "") -> Rows:
    if form:
        return JsonlIndex(file) if form == "lines" else _Keyed(file)
    return JsonArray(file, field) if field else KINDS[kind_of(file)](file)


class _Keyed:
    """The fields of one JSON object as rows, in their order. The whole file is held: such files hold no pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique_fields)
        except (ValueError, RecursionError) as error:
            raise ConfigError([f"{path}: not valid JSON: {error}"], "sources") from error
        if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
            raise ConfigError([f"{path}: expected an object whose fields are the rows"], "sources")
        self._rows = [{**row, "key": key} for key, row in found.items()]

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, row: int) -> dict[str, Any]:
        return dict(self._rows[row])

    def address(self, row: int) -> str:
        return f"{self.path}:{self._rows[row]['key']}"


class _Borrowed:
    """Rows of a VLMEvalKit table by their index, for cells that name another row's picture."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._numbers: dict[str, int] | None = None

    def row(self, index: str) -> int:
        if self._numbers is None:
            rows = (self._rows.row(number) for number in range(len(self._rows)))
            self._numbers = {str(row.get("index")): number for number, row in enumerate(rows)}
        if index not in self._numbers:
            raise SkipSample(f"the picture is that of index {index}, and there is no such row")
        return self._numbers[index]


class _NoColumn(Exception):
    """A file lacks columns."""


def _belonging(
    rows: Rows, file: Path, number: int, release: Release, borrowed: _Borrowed, passed: dict[str, set[str]]
) -> dict[str, Any] | None:
    """A row with its pictures as addresses; None where it belongs to others, whose values join ``passed``.

    Raises:
        SkipSample: it cannot be read.
        _NoColumn: it lacks columns.
    """
    row = rows.row(number)
    missing = [name for name in (*release.columns, *release.only) if name not in row]
    if missing:
        raise _NoColumn(f"{file}: no column {', '.join(missing)}; found {', '.join(map(str, row))}")
    others = {name: str(row[name]) for name, value in release.only.items() if row[name] != value}
    for name, value in others.items():
        passed.setdefault(name, set()).add(value)
    if others:
        return None
    try:
        for column in release.pictures:
            row[column] = _addressed(row.get(column), file, number, column, borrowed)
    except SkipSample as error:
        raise SkipSample(f"{file}, row {number}: {error}") from error
    return row


def _addressed(value: Any, file: Path, row: int, column: str, borrowed: _Borrowed) -> Any:
    """Bytes in cells as the address of the cell; what is not bytes stays."""
    if not file.name.lower().endswith(CELLS):
        return value
    if isinstance(value, list):
        return [
            cell(file, row, column, index) if isinstance(_bytes(entry), bytes) else entry
            for index, entry in enumerate(value)
        ]
    if isinstance(value, str) and kind_of(file) in (".tsv", ".csv"):
        if not value:
            return value
        if value.startswith("["):
            return [cell(file, row, column, index) for index in range(len(listed_texts(value)))]
        holder = borrowed.row(value) if len(value) <= BORROWED else row
        return cell(file, holder, column)
    return cell(file, row, column) if isinstance(_bytes(value), bytes) else value


def _bytes(value: Any) -> Any:
    return value.get("bytes") if isinstance(value, dict) else value


def _absent(items: Sequence[Item]) -> list[str]:
    """Pictures and clips that are named and not there."""
    seen: dict[str, str] = {}
    for item in items:
        parts = (part for message in item.sample.messages for part in message.parts)
        for part in parts:
            if not isinstance(part, ImagePart | VideoPart):
                continue
            path, kind = part.media.path, "clip" if isinstance(part, VideoPart) else "picture"
            if path and path not in seen:
                seen[path] = "" if Path(path).exists() else f"{item.key}: no {kind} {path}"
    return [told for told in seen.values() if told]


def _told(benchmark: str, file: Path, problems: Sequence[str]) -> str:
    more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{benchmark}: {len(problems)} problems in {file}\n" + "\n".join(problems[:SHOWN]) + more
