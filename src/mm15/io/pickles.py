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
from contextlib import suppress
from typing import Any

from mm15.base.errors import ConfigError

MAX_PICKLE = 1 << 30

_ALLOWED = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
NONE NEWTRUE NEWFALSE UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT EMPTY_LIST APPEND APPENDS
LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET POP DUP
MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE PROTO STOP FRAME
BYTEARRAY8
"""
_OPCODES = frozenset(_ALLOWED.split())
"""No INST, OBJ, NEWOBJ, BUILD, EXT, PERSID, BUFFER: nothing that makes or changes an object of a class."""

_BY_CODE = {opcode.code: opcode for opcode in pickletools.opcodes}

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
        _check(data)
        return _Plain(io.BytesIO(data), encoding=encoding).load()
    except _BROKEN as error:
        told = f"{name}: not a pickle of plain values only, so it was not loaded: {error}"
        raise ConfigError([told], "sources") from error


def _check(data: bytes) -> None:
    """Walk the opcodes without running them. Not ``pickletools.genops``: it stops at Python 2's non-ASCII strings."""
    file = io.BytesIO(data)
    name = ""
    while name != "STOP":
        opcode = _BY_CODE.get(file.read(1).decode("latin-1"))
        if opcode is None:
            raise ValueError(f"no opcode at byte {file.tell() - 1}")
        name, argument = opcode.name, None
        if name not in _OPCODES:
            raise ValueError(f"it makes an object (opcode {name})")
        if opcode.arg is not None:
            with suppress(UnicodeDecodeError):
                argument = opcode.arg.reader(file)
        # Memory for a place in the memo is taken up to its number.
        if name.endswith("PUT") and isinstance(argument, int) and argument > len(data):
            raise ValueError(f"memo place {argument} in a pickle of {len(data)} bytes")


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
