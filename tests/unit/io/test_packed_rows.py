"""Packed JSON lines: unpacked once, within bounds, or refused by name."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import zstandard

from mm15.base.errors import ConfigError, SkipSample
from mm15.io import unpack
from mm15.io.unpack import LinesInMemory, UnpackedLines, open_packed

ROWS = [{"id": k, "text": "Grüße" * k} for k in range(5)]
LINES = b"\n".join(json.dumps(row).encode() for row in ROWS)


def pack(path: Path, data: bytes = LINES) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.compress(data))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("docs_shard_0.jsonl", data)
    return path


@pytest.fixture(params=["a.jsonl.gz", "a.jsonl.zst", "a.ndjson.zip"])
def path(tmp_path: Path, request) -> Path:
    return pack(tmp_path / request.param)


def test_rows_come_back_and_are_named_by_the_packed_file(path: Path):
    rows = open_packed(path)
    assert [rows.row(k) for k in (4, 0, 2)] == [ROWS[k] for k in (4, 0, 2)] and len(rows) == 5
    assert rows.address(2) == f"{path}:3"
    assert pickle.loads(pickle.dumps(rows)).row(1) == ROWS[1] and len(pickle.dumps(rows)) < 300


def test_unpacked_once_and_again_when_the_file_changes(path: Path, monkeypatch):
    open_packed(path)
    with monkeypatch.context() as patch:
        patch.setattr(unpack, "_unpack", lambda *_: pytest.fail("unpacked again"))
        assert open_packed(path).row(0) == ROWS[0]
    old = path.stat()
    pack(path, b'{"id": 9}\n')
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    rows = open_packed(path)
    assert len(rows) == 1 and rows.row(0) == {"id": 9}


def test_bad_lines_are_named(path: Path):
    pack(path, b'{"id": 1}\n\nbroken\n')
    rows = open_packed(path)
    with pytest.raises(SkipSample, match=f"{path.name}:3: not valid JSON"):
        rows.row(1)


def test_a_read_only_folder_unpacks_into_memory_within_bounds(path: Path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(unpack, "atomic_folder", refuse)
    rows = open_packed(path)
    assert isinstance(rows, LinesInMemory) and [rows.row(k) for k in range(5)] == ROWS
    assert rows.address(4) == f"{path}:5" and pickle.loads(pickle.dumps(rows)).row(3) == ROWS[3]
    with pytest.raises(IndexError, match="5 rows, there is no row 5"):
        rows.row(5)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    monkeypatch.setattr(unpack, "IN_MEMORY", 100)
    with pytest.raises(ConfigError, match=r"more than the 0 MiB that are unpacked into memory.*read-only"):
        open_packed(path)


def test_a_bomb_and_a_full_disk_are_refused_and_leave_nothing(path: Path, monkeypatch):
    pack(path, b" " * (1 << 20))
    monkeypatch.setattr(unpack, "SMALL", 1000)
    monkeypatch.setattr(unpack, "MAX_RATIO", 20)
    with pytest.raises(ConfigError, match="unpacks to more than 20 times its size"):
        open_packed(path)
    monkeypatch.setattr(unpack, "SMALL", 1 << 30)
    monkeypatch.setattr(unpack, "KEEP_FREE", 1 << 60)
    with pytest.raises(ConfigError, match=r"that the disk of .* has room for"):
        open_packed(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_cut_and_damaged_files_are_refused(path: Path):
    data = pack(path, os.urandom(1 << 16).hex().encode()).read_bytes()
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    for broken in (data[: len(data) // 2], data[:-9], b"", b"<html>404</html>", bytes(damaged)):
        path.write_bytes(broken)
        if path.suffix == ".zst" and broken == bytes(damaged):
            continue  # Frames carry no checksum unless asked.
        with pytest.raises(ConfigError, match=f"{path.name}: damaged or cut off"):
            open_packed(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_several_frames_are_one_file(tmp_path: Path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(b'{"id": 1}\n') + zstandard.compress(b'{"id": 2}\n'))
    assert [open_packed(path).row(k)["id"] for k in range(2)] == [1, 2]
    assert isinstance(open_packed(path), UnpackedLines)


def test_a_zip_holds_exactly_one_file(tmp_path: Path):
    path = tmp_path / "a.jsonl.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", LINES)
        archive.writestr("__MACOSX/._a.jsonl", b"x")
    assert len(open_packed(path)) == 5
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.jsonl", LINES)
    with pytest.raises(ConfigError, match="expected one file in the zip, found 2"):
        open_packed(path)
