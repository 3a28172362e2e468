"""Where the pictures of a clip lie: one file that is opened as it is, or single pictures in a folder or a tar."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef
from mm15.io.cells import CELLS
from mm15.io.media import MAX_BYTES, path_under, read_bytes

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
"""Endings of single frames."""
MOST_FILES = 1_000_000
"""Entries of a folder or tar that are looked at."""
_NUMBERS = re.compile(r"(\d+)")


def folder_frames(folder: Path) -> list[Path]:
    """The pictures in a folder in the order of their names, numbers in them as numbers: ``2.jpg`` before ``10.jpg``."""
    return sorted(
        (file for file in folder.iterdir() if file.suffix.lower() in PICTURES), key=lambda file: _natural(file.name)
    )


def clip_source(ref: MediaRef, root: str | Path = "") -> list[MediaRef] | BinaryIO:
    """The pictures of a clip that is a folder or a tar of them, in order; or a file of another kind, open for reading.

    Nothing is read into memory but the cell of a table. Close the file.

    Args:
        ref: the address of a folder, a file, or a file within a file.
        root: as for ``read_bytes``.

    Raises:
        SkipSample: as ``read_bytes``; empty; or neither frames nor a file.
    """
    address = str(ref)
    if ref.data is not None or (ref.member and ref.path.lower().endswith(CELLS)):
        return _tar_or_file(io.BytesIO(read_bytes(ref, root, max(MAX_BYTES, len(ref.data or b"")))), ref, address)
    if not ref.path:
        raise SkipSample("the address names no file and holds no bytes", address)
    try:
        path = path_under(root, ref.path) if root else Path(ref.path)
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            frames = [MediaRef(str(file)) for file in folder_frames(path)]
            if not frames:
                raise SkipSample(f"the folder holds no frames ({', '.join(sorted(PICTURES))})", address)
            return frames
        if not stat.S_ISREG(kind):
            raise SkipSample("neither a folder nor a regular file", address)
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise SkipSample(f"cannot be read: {error}", address) from error
    try:
        inner = _inner(file, ref, address)
        return _tar_or_file(inner, replace(ref, path=str(path)), address)
    except BaseException:
        file.close()
        raise


class Window(io.RawIOBase):
    """A part of an open file as a file of its own, which owns it. Raises ``OSError`` where the file ends too early."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self.offset, self.size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size - self._at)
        wanted = left if size < 0 else min(size, left)
        self._file.seek(self.offset + self._at)
        data = self._file.read(wanted)
        if len(data) != wanted:
            raise OSError(f"cut off: {wanted} bytes announced, {len(data)} found")
        self._at += wanted
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _inner(file: BinaryIO, ref: MediaRef, address: str) -> BinaryIO:
    """The part of a file that the address means."""
    whole = os.fstat(file.fileno()).st_size
    if ref.offset < 0 and not ref.member:
        if not whole:
            raise SkipSample("empty: 0 bytes", address)
        return file
    offset, size = ref.offset, ref.size
    if offset < 0:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                info = next((one for one in tar if one.name == ref.member), None)
        except tarfile.TarError as error:
            raise SkipSample(f"cannot be read: {error}", address) from error
        if info is None or not info.isreg() or info.issparse():
            raise SkipSample(f"no file '{ref.member}' in the tar", address)
        offset, size = info.offset_data, info.size
    if not 0 < size <= whole - offset:
        raise SkipSample(f"cut off or empty: {size} bytes at {offset}, but the file has {whole}", address)
    return Window(file, offset, size)  # type: ignore[return-value]


def _tar_or_file(file: BinaryIO, ref: MediaRef, address: str) -> list[MediaRef] | BinaryIO:
    """The frames in a tar, or the file at its beginning."""
    file.seek(257)
    is_tar = file.read(5) == b"ustar"
    file.seek(0)
    if not is_tar:
        return file
    base = getattr(file, "offset", 0)
    found: list[tuple[str, MediaRef]] = []
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for number, info in enumerate(tar):
                if number >= MOST_FILES:
                    raise SkipSample(f"a tar of more than {MOST_FILES:,} files", address)
                if info.isreg() and not info.issparse() and Path(info.name).suffix.lower() in PICTURES:
                    if ref.data is not None or not ref.path:
                        data = (ref.data or b"")[info.offset_data : info.offset_data + info.size]
                        found.append((info.name, MediaRef(data=data)))
                    else:
                        found.append((info.name, MediaRef(ref.path, "", base + info.offset_data, info.size)))
    except tarfile.TarError as error:
        raise SkipSample(f"a tar that cannot be read: {error}", address) from error
    finally:
        file.close()
    if not found:
        raise SkipSample(f"the tar holds no frames ({', '.join(sorted(PICTURES))})", address)
    return [media for _, media in sorted(found, key=lambda one: _natural(one[0]))]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in _NUMBERS.split(name)]
