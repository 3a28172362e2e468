"""Rows of one JSON document: an array, the form of LLaVA's own files, or an object that holds one. By number."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from mm15.base.errors import ConfigError, SkipSample
from mm15.io.index import kept_table, stamp_of
from mm15.io.jsonl import unique_fields

# Strings, and what gives a document its shape. Possessive: a string that never ends is given up at once.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]', re.DOTALL)


class JsonArray:
    """The rows of one JSON array, read at random without holding the file.

    The places of the rows lie in ``<file>.idx`` (``<file>.<digest>.idx`` for a field), as those of JSON lines do. The
    pass that finds them looks at strings and brackets only; a row that is not valid JSON is refused when it is read.
    Pickled as its path.

    Args:
        path: the file, UTF-8. An object with exactly one field that is an array (DocVQA's ``{"data": [...]}``) is that
            array.
        field: the field of the object that holds the rows, where there are several arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: the file is no JSON document or is cut off, or it is not clear which array holds its rows.
    """

    def __init__(self, path: str | Path, field: str = "") -> None:
        self.path = Path(path)
        self.field = field
        digest = f".{hashlib.sha256(field.encode()).hexdigest()[:8]}" if field else ""
        stamp = stamp_of(self.path)
        table = kept_table(self.path.with_name(f"{self.path.name}{digest}.idx"), stamp, 2, self._scan)
        self._places = table[1:]
        self._name = _name(self._bytes(*table[0].tolist())) if table[0, 1] else ""

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[type[JsonArray], tuple[Path, str]]:
        return JsonArray, (self.path, self.field)

    def address(self, row: int) -> str:
        """``file:[i]``, or ``file:field[i]`` in an object."""
        return f"{self.path}:{self._name}[{row}]"

    def row_bytes(self, row: int) -> bytes:
        """The bytes of a row as they stand in the file. Raises ``IndexError`` beyond the last row."""
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        return self._bytes(*self._places[row].tolist())

    def row(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming its address, where it is no JSON object.
        """
        text = self.row_bytes(row)
        try:
            found = json.loads(text, object_pairs_hook=unique_fields)
        except (ValueError, RecursionError) as error:
            raise SkipSample(f"not valid JSON: {error}", self.address(row)) from error
        if not isinstance(found, dict):
            raise SkipSample(f"expected a JSON object, found {type(found).__name__}", self.address(row))
        return found

    def _bytes(self, start: int, end: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def _scan(self) -> np.ndarray:
        """(first byte, byte after the last) of the name of the array's field, (0, 0) without one, and of every row."""
        if not self.path.stat().st_size:
            raise ConfigError([f"{self.path}: not valid JSON: the file is empty"], "sources")
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return self._walk(data)

    def _walk(self, data: mmap.mmap) -> np.ndarray:
        start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
        if start[:1] not in (b"[", b"{"):
            raise ConfigError([f"{self.path}: expected an array of rows, found {start[:16]!r}"], "sources")
        in_object = start[:1] == b"{"
        rows_at = 2 if in_object else 1  # Depth at which the commas between rows stand.
        places, arrays = array("q", (0, 0)), []
        depth, begin, wanted = 0, 0, not in_object
        key = string = (0, 0)
        for token in _TOKEN.finditer(data):
            kind = data[token.start()]
            if kind == 0x22:  # "
                if depth == 1:
                    string = token.span()
            elif kind in (0x5B, 0x7B):  # [ {
                if in_object and depth == 1 and kind == 0x5B:
                    arrays.append(_name(data[slice(*key)]))
                    wanted = arrays[-1] == self.field if self.field else len(arrays) == 1
                    places[:2] = array("q", key) if wanted else places[:2]
                depth += 1
                if depth == rows_at:
                    begin = token.end()
            elif kind == 0x3A:  # :
                if depth == 1:
                    key = string
            elif depth == rows_at and wanted:  # A comma between rows, or the end of them.
                last = kind != 0x2C
                if not last or len(places) > 2 or data[begin : token.start()].strip():
                    places.extend((begin, token.start()))
                begin = token.end()
                wanted = not last
                depth -= last
            elif kind in (0x5D, 0x7D):  # ] }
                depth -= 1
        if depth != 0:
            raise ConfigError([f"{self.path}: not valid JSON: it is cut off, or its brackets do not match"], "sources")
        if in_object and (self.field not in arrays if self.field else len(arrays) != 1):
            told = f"the arrays {', '.join(arrays)}" if arrays else "no array"
            raise ConfigError([f"{self.path}: expected one array of rows, found an object with {told}"], "sources")
        return np.frombuffer(places, np.int64).reshape(-1, 2)


def _name(key: bytes) -> str:
    try:
        return str(json.loads(key))
    except ValueError:
        return key.decode(errors="replace")
