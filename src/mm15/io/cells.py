"""Pictures inside the cells of Parquet, Arrow and TSV files: addressed like any other, read when they are needed.

The address of a cell is a ``MediaRef`` whose ``member`` is ``row:column`` or ``row:column:index`` for one of a list, so
that a benchmark of gigabytes is a list of addresses and not of pictures.
"""

from __future__ import annotations

import ast
import base64
import binascii
from functools import lru_cache
from pathlib import Path
from typing import Any

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import MediaRef
from mm15.io.rows import KINDS, Rows, kind_of

CELLS = (".parquet", ".arrow", ".csv", ".tsv")
"""Files whose members are cells."""


def cell(file: Path, row: int, column: str, index: int | None = None) -> MediaRef:
    """The address of what lies in a cell, or of one of the list in it."""
    return MediaRef(path=str(file), member=f"{row}:{column}" + ("" if index is None else f":{index}"))


def read_cell(ref: MediaRef) -> bytes:
    """The bytes in a cell: as they are, of a ``{"bytes", "path"}`` struct, or base64 text, one of a list or alone.

    Raises:
        SkipSample: no such cell, or nothing of these in it.
    """
    number, _, rest = ref.member.partition(":")
    column, _, index = rest.partition(":")
    try:
        value: Any = _rows(ref.path).row(int(number))[column]
        value = listed_texts(value) if index and isinstance(value, str) else value
        value = value[int(index)] if index else value
    except (ConfigError, KeyError, IndexError, ValueError, TypeError) as error:
        raise SkipSample(f"no such cell: {error}", str(ref)) from error
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, str):
        return _decoded(value, ref)
    if not isinstance(value, bytes):
        raise SkipSample(f"the cell holds a {type(value).__name__}, expected a picture's bytes", str(ref))
    return value


def listed_texts(text: str) -> list[str]:
    """The texts of a list that a table holds as it is written in Python, as VLMEvalKit's tables do.

    Raises:
        SkipSample: it is no list of texts.
    """
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise SkipSample(f"not a list: {error}") from error
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise SkipSample("expected a list of texts")
    return found


def _decoded(text: str, ref: MediaRef) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SkipSample(f"the cell is neither bytes nor base64: {error}", str(ref)) from error


@lru_cache(maxsize=4)
def _rows(path: str) -> Rows:
    return KINDS[kind_of(Path(path))](Path(path))
