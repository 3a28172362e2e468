"""Pickle files of data sets (REFER's ``refs(unc).p``), read without running anything that stands in them.

A pickle is a program. Here it may build dicts, lists, tuples, sets, strings, bytes, numbers, booleans and None, and
nothing else: every opcode is checked against a list before the first one runs, and every name that it asks for is
refused but the few that older protocols need to write a set, a bytearray or bytes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from typing import Any

from mm15.base.errors import ConfigError

MAX_PICKLE = 1 << 30

_OPCODES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "NONE NEWTRUE NEWFALSE UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT EMPTY_LIST APPEND APPENDS "
    "LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET POP DUP "
    "MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE PROTO STOP FRAME "
    "BYTEARRAY8".split()
)
"""No INST, OBJ, NEWOBJ, BUILD, EXT, PERSID, BUFFER: nothing that makes or changes an object of a class."""

_BROKEN = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    AttributeError,
    struct.error,
    RecursionError,
    MemoryError,
    OverflowError,
)


def load_pickle(data: bytes, name: str = "pickle", encoding: str = "utf-8") -> Any:
    """The plain value in a pickle.

    Args:
        data: the bytes of the file.
        name: what errors call it.
        encoding: of the byte strings that Python 2 wrote.

    Raises:
        ConfigError: it holds anything but plain values, is damaged, or is larger than ``MAX_PICKLE``.
    """
    try:
        if len(data) > MAX_PICKLE:
            raise ValueError(f"{len(data)} bytes, more than the {MAX_PICKLE} allowed")
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise ValueError(f"it makes an object (opcode {opcode.name})")
            # Memory for a place in the memo is taken up to its number.
            if opcode.name.endswith("PUT") and int(argument or 0) > len(data):
                raise ValueError(f"memo place {argument} in a pickle of {len(data)} bytes")
        return _Plain(io.BytesIO(data), encoding=encoding).load()
    except _BROKEN as error:
        told = f"{name}: not a pickle of plain values only, so it was not loaded: {error}"
        raise ConfigError([told], "sources") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What ``GLOBAL`` may name. Called with what it finds, so each of them must be safe to call with anything."""
        if module in ("builtins", "__builtin__") and name in ("set", "frozenset"):
            return set if name == "set" else frozenset
        if module in ("builtins", "__builtin__") and name in ("bytes", "bytearray"):
            return _bytes
        if (module, name) == ("_codecs", "encode"):
            return _bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _bytes(value: object = b"", encoding: object = "latin1") -> bytes:
    """What protocols 0 to 2 write for bytes: a text and 'latin1'; never a length, which could be any."""
    if isinstance(value, bytes | list) and encoding == "latin1":
        return bytes(value)
    if not isinstance(value, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it makes bytes of {type(value).__name__} by {encoding!r}")
    return value.encode("latin1")
