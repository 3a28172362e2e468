"""Packed JSON lines (``.gz``, ``.zst``, ``.zip`` with one file in it), unpacked once, because rows are read at random.

The rows go to ``<file>.unpacked/rows.jsonl`` beside the packed file, and are made anew when that has changed. In a
read-only folder up to ``IN_MEMORY`` bytes are unpacked into memory; more is refused. Nothing is unpacked beyond
``MAX_RATIO`` times the packed size (or ``SMALL`` bytes), nor when less than ``KEEP_FREE`` bytes of disk would be left.
``.zst`` needs the extra ``zstd`` (zstandard).
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from mm15.base.errors import ConfigError, MissingExtra
from mm15.io.atomic import atomic_folder
from mm15.io.index import stamp_of
from mm15.io.jsonl import JsonlIndex, decode_row, scan_lines

IN_MEMORY = 256 << 20
MAX_RATIO = 200
SMALL = 64 << 20
KEEP_FREE = 1 << 30
CHUNK = 1 << 20
ZSTD_BITE = 2048


def open_packed(path: str | Path) -> UnpackedLines | LinesInMemory:
    """The rows of a packed JSONL file.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: damaged, cut off, encrypted, more than one file in a zip, or larger than what is allowed.
        MissingExtra: ``.zst`` without zstandard.
    """
    path = Path(path)
    folder = path.with_name(f"{path.name}.unpacked")
    stamp = list(stamp_of(path))
    if _stamp_in(folder) == stamp:
        return UnpackedLines(path)
    try:
        with atomic_folder(folder, durable=False) as draft:
            # The disk is looked at now and not later: a bound is a promise of this moment.
            most = shutil.disk_usage(draft).free - KEEP_FREE
            with (draft / "rows.jsonl").open("wb") as file:
                _unpack(path, file, most, f"the disk of {path.parent} has room for")
            (draft / "stamp.json").write_text(json.dumps(stamp))
    except OSError as error:
        if _stamp_in(folder) == stamp:  # Another process was quicker.
            return UnpackedLines(path)
        memory = io.BytesIO()
        _unpack(path, memory, IN_MEMORY, f"are unpacked into memory ({folder.parent} cannot be written: {error})")
        return LinesInMemory(path, memory.getvalue())
    return UnpackedLines(path)


class UnpackedLines(JsonlIndex):
    """JSON lines that were unpacked beside their packed file; their address names the packed file."""

    def __init__(self, packed: Path) -> None:
        self.packed = packed
        super().__init__(packed.with_name(f"{packed.name}.unpacked") / "rows.jsonl")

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return open_packed, (self.packed,)

    def address(self, row: int) -> str:
        """``file:line``, as if the packed file had lines."""
        return f"{self.packed}:{self.line(row)}"


class LinesInMemory:
    """Unpacked JSON lines, held in memory. Pickled as the path of the packed file."""

    def __init__(self, packed: Path, data: bytes) -> None:
        self.path = packed
        self._data = data
        self._places = scan_lines(io.BytesIO(data))

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return open_packed, (self.path,)

    def address(self, row: int) -> str:
        """``file:line``, as if the packed file had lines."""
        return f"{self.path}:{self._place(row)[1]}"

    def row_bytes(self, row: int) -> bytes:
        """The bytes of a row. Raises ``IndexError`` beyond the last row."""
        start = self._place(row)[0]
        end = self._data.find(b"\n", start)
        return self._data[start : end if end >= 0 else None]

    def row(self, row: int) -> dict[str, Any]:
        """A decoded row. Raises ``IndexError`` beyond the last, ``SkipSample`` where it is not a JSON object."""
        return decode_row(self.row_bytes(row), self.address(row))

    def _place(self, row: int) -> tuple[int, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        offset, line = self._places[row].tolist()
        return offset, line


def _stamp_in(folder: Path) -> list[int] | None:
    with suppress(OSError, ValueError):
        return json.loads((folder / "stamp.json").read_text())
    return None


def _unpack(path: Path, out: BinaryIO, room: int, limit: str) -> None:
    packed, size = path.stat().st_size, 0
    most = max(SMALL, MAX_RATIO * packed)
    try:
        if not packed:
            raise EOFError("the file is empty")
        for chunk in CHUNKS[path.suffix.lower()](path):
            size += len(chunk)
            if size > most:
                raise ConfigError([f"{path}: unpacks to more than {MAX_RATIO} times its size; refused"], "sources")
            if size > room:
                told = f"{path}: unpacks to more than the {max(room, 0) >> 20} MiB that {limit}; unpack it yourself"
                raise ConfigError([told], "sources")
            out.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        told = f"{path}: damaged or cut off after {size} unpacked bytes: {error}; download it again"
        raise ConfigError([told], "sources") from error


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _zip_chunks(path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
        if len(files) != 1:
            raise ConfigError([f"{path}: expected one file in the zip, found {len(files)}"], "sources")
        with archive.open(files[0]) as file:
            while chunk := file.read(CHUNK):
                yield chunk


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtra("zstandard", "zstd", "reading .zst files") from None
    # 2 GiB windows are what `zstd --long=31` makes.
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    # Not its stream reader: that takes a file that was cut off for a whole one.
    frame, begun = decompressor.decompressobj(), False
    with path.open("rb") as file:
        # A frame may unpack to 30,000 times its size; small bites bound what is in memory before it is counted.
        while bite := file.read(ZSTD_BITE):
            while bite:
                try:
                    yield frame.decompress(bite)
                except zstandard.ZstdError as error:
                    raise ValueError(str(error)) from error
                begun = not frame.eof
                bite = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = decompressor.decompressobj()
    if begun:
        raise EOFError("the last frame does not end")


CHUNKS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    ".gz": _gzip_chunks,
    ".zip": _zip_chunks,
    ".zst": _zstd_chunks,
}
