"""Pickles: plain values of every protocol are read, everything else is refused without being run."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError
from mm15.io.pickles import read_pickle

VALUE = {"a": [1, 2.5, None, True, ("b", b"\x00\xff")], "c": {1, 2}, "d": frozenset({3}), "é": -(1 << 70)}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back(tmp_path: Path, protocol: int):
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps(VALUE, protocol=protocol))
    assert read_pickle(path) == VALUE


def test_texts_of_python_2_are_utf_8(tmp_path: Path):
    path = tmp_path / "a.p"
    path.write_bytes(b"\x80\x02U\x05caf\xc3\xa9q\x00.")
    assert read_pickle(path) == "café"


@pytest.mark.parametrize("value", [OrderedDict(a=1), Path("a"), ConfigError, print, 1j])
def test_anything_else_is_refused(tmp_path: Path, value: Any):
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(ConfigError, match="only plain values are read"):
        read_pickle(path)


@pytest.mark.parametrize("data", [b"", b"\x80", pickle.dumps(VALUE)[:-5], b"no pickle", b"\x80\x02U\x01\xffq\x00."])
def test_damaged_files_are_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "a.p"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="not a pickle of plain values"):
        read_pickle(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pickle(tmp_path / "a.p")
