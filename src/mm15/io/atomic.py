"""Writing that is either done or did not happen: a reader never meets half a file or half a folder."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Replace a file by ``data`` (text as UTF-8). Missing parent folders are made; an old file survives any failure."""
    with open_atomic(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the name ``path`` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path)
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextmanager
def atomic_folder(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """An empty folder to fill, which takes the name ``path`` when the block ends without an error.

    A folder that is already there is replaced: moved aside, and put back if the new one cannot take its place. Only a
    power cut between those two renames leaves it under its temporary name (``.<name>.<random>.tmp``).

    Args:
        durable: every file is on the disk before the folder takes its name, also if the power goes. Thousands of small
            files that can be made again are quicker without.

    Raises:
        NotADirectoryError: ``path`` is a file.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; a folder cannot take its place")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, aside = _beside(path), _beside(path)
    draft.mkdir()
    try:
        yield draft
        for entry in (*draft.rglob("*"), draft) if durable else ():
            _sync(entry)
        if path.exists():
            os.replace(path, aside)
        try:
            os.replace(draft, path)
        except BaseException:
            if aside.exists():
                os.replace(aside, path)
            raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path) -> Path:
    """An unused hidden name in the same folder, so that the rename stays on one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    """Push a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems cannot sync a folder; a file that cannot be synced is an error.
        with suppress(OSError) if path.is_dir() else nullcontext():
            os.fsync(handle)
    finally:
        os.close(handle)
