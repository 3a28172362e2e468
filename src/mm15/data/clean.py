"""Write the good rows of sources, in the form their files have.

JSON lines, JSON arrays, CSV and TSV keep the bytes of every good row; Parquet, Arrow and tar files are written anew
from their good rows. Packed JSON lines are written unpacked. Pictures are not copied (those inside Parquet and tar rows
go along): ``sources.yaml`` in the folder names the good rows with the root that their pictures have, so that the folder
can be checked, viewed and named in a recipe.
"""

from __future__ import annotations

import glob
import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mm15.base.errors import ConfigError, MissingExtra
from mm15.base.types import MediaRef
from mm15.data.source import Source
from mm15.datasets._selected import SelectedRows
from mm15.dist.map import Engine, map_ordered
from mm15.io.atomic import atomic_folder, open_atomic, write_atomic
from mm15.io.csv_rows import CsvRows
from mm15.io.json_array import JsonArray
from mm15.io.jsonl import JsonlIndex
from mm15.io.parquet import ArrowRows, ParquetRows
from mm15.io.rows import ConcatRows, Rows
from mm15.io.tar import TarRows
from mm15.io.unpack import LinesInMemory, UnpackedLines

PACKED = (".gz", ".zst", ".zip")
COPY = 1 << 20
WRITABLE = (JsonlIndex, LinesInMemory, JsonArray, CsvRows, ParquetRows, ArrowRows, TarRows)


class _File(NamedTuple):
    """One file to write: where, from which rows, without which."""

    path: str
    rows: Rows
    bad: frozenset[int]


def folder_names(sources: Sequence[Source]) -> list[str]:
    """A folder's name for every source.

    Raises:
        ConfigError: two sources would share one.
    """
    names = [re.sub(r"[^\w.-]", "_", source.name).lstrip(".") or "_" for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            [f"two sources would be written into one folder '{name}'; rename one" for name in twice], "out"
        )
    return names


def check_cleanable(sources: Sequence[Source], out: Path) -> None:
    """Raises ``ConfigError`` where ``out`` is there already, or rows of a source cannot be written as they are."""
    folder_names(sources)
    problems = []
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        problems.append(f"{out} is there already; name a new folder for the good rows")
    for source in sources:
        if not all(isinstance(rows, WRITABLE) for _, rows in _shards(source)):
            problems.append(
                f"source '{source.name}': format {source.config.format} joins its rows from several files, which "
                f"cannot be written without some of them; mm15 data convert writes the good ones in the sharded format"
            )
    if problems:
        raise ConfigError(problems, f"good rows for {out}")


def write_clean(
    sources: Sequence[Source],
    bad: Sequence[frozenset[int]],
    out: Path,
    report: Mapping[str, Any],
    text: str,
    engine: Engine,
) -> None:
    """Write a new folder: ``<source>/<files>``, ``sources.yaml``, ``report.json`` and ``report.txt``.

    Args:
        sources: as they were checked.
        bad: of each source the numbers of the rows that are left out.
    """
    with atomic_folder(out, durable=False) as draft:
        files, listed = [], []
        for source, folder, left_out in zip(sources, folder_names(sources), bad, strict=True):
            placed = _placed(source, folder, left_out)
            files += placed
            told = source.config.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
            all_of = f"{glob.escape(folder)}/**/*{Path(placed[0].path).suffix}"
            told["path"] = placed[0].path if len(placed) == 1 else all_of
            told["root"] = os.path.abspath(source.root)
            if source.config.store:
                told["store"] = source.config.store.model_dump() | {
                    "path": os.path.abspath(Path(source.data) / source.config.store.path)
                }
            listed.append(told)
        for _ in map_ordered(partial(_write, draft), files, engine, lambda file: file.path):
            pass
        write_atomic(draft / "sources.yaml", yaml.safe_dump(listed, sort_keys=False, allow_unicode=True))
        write_atomic(draft / "report.json", json.dumps(report, indent=1, default=str))
        write_atomic(draft / "report.txt", text + "\n")


def _shards(source: Source) -> list[tuple[int, Rows]]:
    rows = source.rows.rows if isinstance(source.rows, SelectedRows) else source.rows
    return list(rows.shards()) if isinstance(rows, ConcatRows) else [(0, rows)]


def _placed(source: Source, folder: str, bad: frozenset[int]) -> list[_File]:
    shards = _shards(source)
    files = [_file_of(rows) for _, rows in shards]
    common = Path(os.path.commonpath([file.parent for file in files]))
    if isinstance(source.rows, SelectedRows):  # of its files everything that is not selected is left out too
        good = {source.rows.place(row) for row in range(len(source.rows)) if row not in bad}
        bad = frozenset(row for row in range(len(source.rows.rows)) if row not in good)
    placed = []
    for (start, rows), file in zip(shards, files, strict=True):
        name = str(file.relative_to(common))
        for end in PACKED:
            name = name.removesuffix(end)
        inside = frozenset(row - start for row in bad if start <= row < start + len(rows))
        placed.append(_File(f"{folder}/{name}", rows, inside))
    return placed


def _file_of(rows: Any) -> Path:
    return rows.packed if isinstance(rows, UnpackedLines) else rows.path


def _write(out: Path, file: _File) -> int:
    rows, path = file.rows, out / file.path
    good = [row for row in range(len(rows)) if row not in file.bad]
    if isinstance(rows, JsonlIndex | LinesInMemory):
        with open_atomic(path) as written:
            for row in good:
                line = rows.row_bytes(row)
                written.write(line if line.endswith(b"\n") else line + b"\n")
    elif isinstance(rows, JsonArray):
        with open_atomic(path) as written:
            written.write(b"[")
            for number, row in enumerate(good):
                written.write((b",\n" if number else b"\n") + rows.row_bytes(row).strip())
            written.write(b"\n]\n")
    elif isinstance(rows, CsvRows):
        with open_atomic(path) as written:
            for row in (-1, *good):
                line = rows.row_bytes(row)
                written.write(line if line.endswith(b"\n") else line + b"\n")
    elif isinstance(rows, TarRows):
        _write_tar(rows, good, path)
    elif isinstance(rows, ParquetRows | ArrowRows):
        _write_table(rows, file.bad, path)
    return len(good)


def _write_tar(rows: TarRows, good: Sequence[int], path: Path) -> None:
    with open_atomic(path) as written, tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for row in good:
            for field, ref in rows.row(row).items():
                if field == "__key__":
                    continue
                assert isinstance(ref, MediaRef)
                info = tarfile.TarInfo(ref.member)
                info.size, info.mode = ref.size, 0o644
                with open(ref.path, "rb") as source:
                    source.seek(ref.offset)
                    tar.addfile(info, source)


def _write_table(rows: ParquetRows | ArrowRows, bad: frozenset[int], path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", "writing .parquet and .arrow files") from None
    parquet = isinstance(rows, ParquetRows)
    with open_atomic(path) as written:
        if parquet:
            writer: Any = pyarrow.parquet.ParquetWriter(written, rows.schema)
        else:
            writer = pyarrow.ipc.new_file(written, rows.schema)
        with writer:
            for numbers, table in rows.tables(lambda numbers: not bad.issuperset(numbers)):
                writer.write(table.filter(pyarrow.array([row not in bad for row in numbers])))
