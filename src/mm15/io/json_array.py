"""Rows of one JSON document: an array, the form of LLaVA's own files, or an object that holds one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mm15.base.errors import ConfigError, SkipSample


class JsonArray:
    """The rows of one JSON array, held in memory: for large sets JSON lines are better. Pickled as its path.

    Args:
        path: the file. An object with exactly one field that is an array (DocVQA's ``{"data": [...]}``) is that array.
        field: the field of the object that holds the rows, where there are several arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: the file is not JSON, or it is not clear which array holds its rows.
    """

    def __init__(self, path: str | Path, field: str = "") -> None:
        self.path = Path(path)
        self.field = field
        try:
            found = json.loads(self.path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ConfigError([f"{self.path}: not valid JSON: {error}"], "sources") from error
        self._name = field
        if isinstance(found, dict):
            arrays = [name for name, value in found.items() if isinstance(value, list)]
            if not field and len(arrays) == 1:
                self._name = arrays[0]
            if self._name not in arrays:
                told = f"the arrays {', '.join(arrays)}" if arrays else "no array"
                raise ConfigError([f"{self.path}: expected one array of rows, found an object with {told}"], "sources")
            found = found[self._name]
        if not isinstance(found, list):
            raise ConfigError([f"{self.path}: expected an array of rows, found {type(found).__name__}"], "sources")
        self._rows = found

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[type[JsonArray], tuple[Path, str]]:
        return JsonArray, (self.path, self.field)

    def address(self, row: int) -> str:
        """``file:[i]``, or ``file:field[i]`` in an object."""
        return f"{self.path}:{self._name}[{row}]"

    def row(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming its address, where it is no JSON object.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        found = self._rows[row]
        if not isinstance(found, dict):
            raise SkipSample(f"expected a JSON object, found {type(found).__name__}", self.address(row))
        return found
