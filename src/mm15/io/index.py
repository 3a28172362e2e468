"""Sidecars: what one pass over a data file found, kept beside it as an array and mapped into memory from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np

from mm15.io.atomic import write_atomic


def stamp_of(path: Path) -> tuple[int, int]:
    """(size, mtime in ns): another stamp is another file. Raises ``FileNotFoundError``."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def kept_table(sidecar: Path, stamp: Sequence[int], columns: int, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The int64 table ``[N, columns]`` that belongs to ``stamp``, from the sidecar or made and kept there.

    The first row of the table is the stamp (padded with zeros) and is not returned. A sidecar that is missing, damaged
    or of another stamp is made anew. Where the folder is read-only the table stays in memory.
    """
    head = [*stamp, *[0] * (columns - len(stamp))]
    table = _read(sidecar, head)
    if table is None:
        table = np.concatenate([np.array([head], np.int64), make().reshape(-1, columns)])
        buffer = BytesIO()
        np.save(buffer, table)
        with suppress(OSError):
            write_atomic(sidecar, buffer.getvalue())
            mapped = _read(sidecar, head)
            table = table if mapped is None else mapped
    return table[1:].view(np.ndarray)  # Still mapped; a memmap's own indexing is slow.


def _read(sidecar: Path, head: list[int]) -> np.ndarray | None:
    try:
        table = np.load(sidecar, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = table.dtype == np.int64 and table.ndim == 2 and table.shape[0] >= 1 and table.shape[1] == len(head)
    return table if fits and table[0].tolist() == head else None
