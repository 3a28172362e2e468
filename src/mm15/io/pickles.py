"""Pickles as data: plain values only, no code is ever looked up or called."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from mm15.base.errors import ConfigError

PLAIN = {"set": set, "frozenset": frozenset, "bytes": bytes}
"""What old protocols name by module; all other plain values have an opcode of their own."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in PLAIN:
            return PLAIN[name]
        if (module, name) == ("_codecs", "encode"):
            return _as_bytes
        raise pickle.UnpicklingError(f"it names {module}.{name}; only plain values are read")


def _as_bytes(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: as a text of the characters 0-255."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
    return text.encode("latin1")


def read_pickle(path: str | Path) -> Any:
    """The value in a pickle file made of dict, list, tuple, set, str, bytes, int, float, bool and None.

    Python 2's texts are read as UTF-8. REFER's files (``refs(unc).p``) are of this kind.

    Raises:
        ConfigError: it is no pickle, is cut off, or names anything else, which is never imported.
    """
    try:
        with Path(path).open("rb") as file:
            return _Plain(file, encoding="utf-8").load()
    except OSError as error:
        raise ConfigError([f"cannot be read: {error}"], str(path)) from error
    except Exception as error:  # Damaged pickles raise whatever their opcodes run into.
        raise ConfigError([f"not a pickle of plain values: {error}"], str(path)) from error
