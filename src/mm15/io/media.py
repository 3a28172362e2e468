"""The bytes of a picture or clip by its address: a file, a tar's member, a table's cell, or bytes in hand."""

from __future__ import annotations

import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path, PurePath

from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef
from mm15.io.cells import CELLS, read_cell

MAX_BYTES = 64 << 20


def read_bytes(ref: MediaRef, root: str | Path = "", max_bytes: int = MAX_BYTES) -> bytes:
    """The encoded bytes at an address.

    A tar member is read in place, nothing is extracted: with ``offset`` and ``size`` directly, otherwise by walking
    the (uncompressed) tar to its name. A member of a Parquet, Arrow or TSV file is a cell of it (``io.cells``).

    Args:
        ref: the address.
        root: the folder that ``ref.path`` is relative to and may not leave; empty: any path, as the caller's own.
        max_bytes: the most that is read.

    Raises:
        SkipSample: naming the address: outside of the root, missing, not a regular file, cut off, too large.
    """
    address = str(ref)
    if ref.data is not None:
        return ref.data[: _allowed(len(ref.data), max_bytes, address)]
    if not ref.path:
        raise SkipSample("the address names no file and holds no bytes", address)
    try:
        path = path_under(root, ref.path) if root else Path(ref.path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SkipSample("not a regular file", address)
        if ref.offset >= 0:
            data, size = _slice(path, ref.offset, _allowed(ref.size, max_bytes, address))
        elif ref.member and path.name.lower().endswith(CELLS):
            data = read_cell(replace(ref, path=str(path)))
            size = _allowed(len(data), max_bytes, address)
        elif ref.member:
            data, size = _member(path, ref.member, max_bytes, address)
        else:
            data, size = _slice(path, 0, _allowed(found.st_size, max_bytes, address))
    except (OSError, ValueError, tarfile.TarError) as error:
        raise SkipSample(f"cannot be read: {error}", address) from error
    if len(data) != size:
        raise SkipSample(f"cut off: {size} bytes announced, {len(data)} found", address)
    return data


def path_under(root: str | Path, path: str) -> Path:
    """The real path of ``path`` inside ``root``.

    Raises:
        SkipSample: it is absolute, contains ``..``, or a symbolic link leads it out of the root.
    """
    inner = PurePath(path)
    if inner.is_absolute() or ".." in inner.parts or "\0" in path:
        raise SkipSample(f"must be a relative path without '..' (below {root})", path)
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, path))
    if os.path.commonpath([base, real]) != base:
        raise SkipSample(f"a symbolic link leads out of {root}", path)
    return Path(real)


def _allowed(size: int, max_bytes: int, address: str) -> int:
    if not 0 <= size <= max_bytes:
        raise SkipSample(f"a size of {size} bytes is not between 0 and the {max_bytes} allowed", address)
    return size


def _slice(path: Path, offset: int, size: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size), size


def _member(path: Path, member: str, max_bytes: int, address: str) -> tuple[bytes, int]:
    # "r:" refuses compressed tars: they have no random access, and one read could unpack without limit.
    with tarfile.open(path, "r:") as tar:
        for info in tar:
            if info.name == member:
                if not info.isreg() or info.issparse():
                    raise SkipSample("the tar member is not a regular file", address)
                return _slice(path, info.offset_data, _allowed(info.size, max_bytes, address))
    raise SkipSample(f"no member '{member}' in the tar", address)
