"""The official files of a benchmark, as users have them: found, checked, and read row by row.

A benchmark's files lie in ``DIR/<name of the benchmark>``. It lists the shapes in which they are handed out
(``Release``); the first whose files are there is read. A missing column, another split, an absent picture or another
number of rows stops with what was expected and what was found, all problems together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mm15.base.errors import ConfigError, DataError, SkipSample
from mm15.base.types import Category, MediaRef
from mm15.datasets._context import RowContext
from mm15.evals.items import Item
from mm15.io.cells import CELLS, cell
from mm15.io.json_array import JsonArray
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
        name: tells shapes apart in the benchmark's own code.
        open: makes the rows of a file that is not one of rows (a pickle, a split list of a folder of small files).
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int = 0
    pictures: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    field: str = ""
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

    def _rows(
        self, release: Release, files: Sequence[Path], problems: list[str]
    ) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        """(file, number in it, row) of every row that belongs to the benchmark."""
        passed: dict[str, set[str]] = {}
        kept = 0
        for file in files:
            try:
                rows = release.open(file) if release.open else _open(file, release.field)
                count = len(rows)
            except ConfigError as error:
                problems += error.problems
                continue
            borrowed = _Borrowed(rows)
            for number in range(count):
                try:
                    row = rows.row(number)
                except SkipSample as error:
                    problems.append(str(error))
                    continue
                missing = [name for name in (*release.columns, *release.only) if name not in row]
                if missing:
                    told = f"{file}: no column {', '.join(missing)}; found {', '.join(map(str, row))}"
                    problems.append(told)
                    break  # the others of this file would say the same
                others = {name: str(row[name]) for name, value in release.only.items() if row[name] != value}
                if others:
                    for name, value in others.items():
                        passed.setdefault(name, set()).add(value)
                    continue
                for column in release.pictures:
                    row[column] = _addressed(row.get(column), file, number, column, borrowed)
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
        rows = ConcatRows(find_files(path)) if not field else _open(path, field)
        for number in range(len(rows)):
            yield number, rows.row(number)
    except (ConfigError, SkipSample) as error:
        raise DataError(str(error)) from error


def _open(file: Path, field: str) -> Rows:
    return JsonArray(file, field) if field else KINDS[kind_of(file)](file)


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
        if not value or value.startswith("["):
            return value
        holder = borrowed.row(value) if len(value) <= BORROWED else row
        return cell(file, holder, column)
    return cell(file, row, column) if isinstance(_bytes(value), bytes) else value


def _bytes(value: Any) -> Any:
    return value.get("bytes") if isinstance(value, dict) else value


def _absent(items: Sequence[Item]) -> list[str]:
    """Pictures that are named and not there."""
    seen: dict[str, str] = {}
    for item in items:
        for image in item.sample.images:
            media: MediaRef = image.media
            if media.path and media.path not in seen:
                seen[media.path] = "" if Path(media.path).exists() else f"{item.key}: no picture {media.path}"
    return [told for told in seen.values() if told]


def _told(benchmark: str, file: Path, problems: Sequence[str]) -> str:
    more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{benchmark}: {len(problems)} problems in {file}\n" + "\n".join(problems[:SHOWN]) + more
