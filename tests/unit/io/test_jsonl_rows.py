"""JSON lines in order and by number; every error names file:line."""

import json
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from mm15.base.errors import MM15Error, SkipSample
from mm15.io import index as index_module
from mm15.io import jsonl
from mm15.io.jsonl import JsonlIndex, read_jsonl, write_jsonl

ROWS = [{"id": 1, "text": "Grüße\u2028\n"}, {"id": 2, "boxes": [[1, 2.5, 3, 4]]}, {"id": 3, "text": "日本"}]


@pytest.fixture
def path(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    return tmp_path / "rows.jsonl"


def test_rows_come_back(path):
    assert list(read_jsonl(path)) == list(enumerate(ROWS, 1))
    assert path.read_bytes().count(b"\n") == 3
    assert "日本" in path.read_text(encoding="utf-8")


def test_writing_leaves_the_old_file_when_a_row_fails(path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_jsonl(path, [{"loss": 1.0}, {"loss": float("nan")}])
    assert len(list(read_jsonl(path))) == 3
    assert [entry.name for entry in path.parent.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b'{"a": 1', "not valid JSON"),
        (b"[1, 2]", "expected a JSON object, found list"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, reason):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"id": 1}\n\n' + line + b"\n")
    with pytest.raises(SkipSample, match=rf"bad\.jsonl:3: {reason}"):
        list(read_jsonl(path))
    index = JsonlIndex(path)
    assert index.row(0) == {"id": 1}
    with pytest.raises(SkipSample, match=rf"bad\.jsonl:3: {reason}"):
        index.row(1)


def test_rows_by_number(path):
    index = JsonlIndex(path)
    assert len(index) == 3
    assert [index.row(number) for number in (2, 0, 1)] == [ROWS[2], ROWS[0], ROWS[1]]
    assert index.row_bytes(1) == b'{"id": 2, "boxes": [[1, 2.5, 3, 4]]}\n'
    assert index.address(2) == f"{path}:3"
    for row in (3, -1):
        with pytest.raises(IndexError, match=f"3 rows, there is no row {row}"):
            index.row(row)


def test_blank_lines_and_line_ends(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n\n  \t\n{"id": 2}\n\n{"id": 3}')
    index = JsonlIndex(path)
    assert [index.row(number)["id"] for number in range(len(index))] == [1, 2, 3]
    assert [index.address(number) for number in range(3)] == [f"{path}:{line}" for line in (1, 4, 6)]
    assert [line for line, _ in read_jsonl(path)] == [1, 4, 6]


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert len(JsonlIndex(tmp_path / "empty.jsonl")) == 0
    with pytest.raises(FileNotFoundError):
        JsonlIndex(tmp_path / "none.jsonl")


def test_the_sidecar_is_made_once(path, monkeypatch):
    assert len(JsonlIndex(path)) == 3
    assert path.with_name("rows.jsonl.idx").is_file()
    monkeypatch.setattr(jsonl, "_scan", lambda *_: pytest.fail("the file was read again"))
    index = JsonlIndex(path)
    assert index.row(2) == ROWS[2]
    assert pickle.loads(pickle.dumps(index)).row(1) == ROWS[1]
    assert len(pickle.dumps(index)) < 500


def test_the_sidecar_follows_the_file(path):
    JsonlIndex(path)
    write_jsonl(path, ROWS[1:])
    index = JsonlIndex(path)
    assert [index.row(number) for number in range(len(index))] == ROWS[1:]
    # Same size, other time: what lies where may have changed.
    swapped = b"".join(reversed(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(swapped)
    os.utime(path, ns=(1, 1))
    index = JsonlIndex(path)
    assert [index.row(number) for number in range(len(index))] == ROWS[:0:-1]


@pytest.mark.parametrize("damage", [b"", b"junk", "cut", "other array"])
def test_a_damaged_sidecar_is_made_anew(path, damage):
    JsonlIndex(path)
    sidecar = path.with_name("rows.jsonl.idx")
    if damage == "cut":
        sidecar.write_bytes(sidecar.read_bytes()[:-8])
    elif damage == "other array":
        with sidecar.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        sidecar.write_bytes(damage)
    assert JsonlIndex(path).row(2) == ROWS[2]
    assert np.load(sidecar).shape == (4, 2)


def test_a_read_only_folder_is_no_obstacle(path, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(index_module, "write_atomic", refuse)
    index = JsonlIndex(path)
    assert [index.row(number) for number in range(3)] == ROWS
    assert not path.with_name("rows.jsonl.idx").exists()


def test_the_bytes_of_all_rows_are_the_file(tmp_path):
    path, noise = tmp_path / "rows.jsonl", random.Random(0)
    lines = [json.dumps({"id": row, "text": "x" * noise.randint(0, 9000)}).encode() + b"\n" for row in range(200)]
    path.write_bytes(b"".join(lines))
    index, order = JsonlIndex(path), noise.sample(range(200), 200)
    assert [index.row_bytes(row) for row in order] == [lines[row] for row in order]
    assert all(type(index.row_bytes(row)) is bytes for row in (0, 199))


def test_a_file_that_became_shorter_is_an_error_and_not_a_signal(path, monkeypatch):
    monkeypatch.setattr(jsonl, "TRUSTED_SECONDS", 0)
    index, unread = JsonlIndex(path), JsonlIndex(path)
    assert index.row(2) == ROWS[2]
    for size in (10, 0):
        os.truncate(path, size)
        for reader in (index, unread):
            with pytest.raises(MM15Error, match=rf"rows\.jsonl: became shorter while it was in use: {size} bytes"):
                reader.row_bytes(2)


def test_a_file_that_is_replaced_or_grows_is_read_as_it_was(path, monkeypatch):
    monkeypatch.setattr(jsonl, "TRUSTED_SECONDS", 0)
    index = JsonlIndex(path)
    with path.open("ab") as file:
        file.write(b'{"id": 4}\n')
    assert [index.row(number) for number in range(len(index))] == ROWS
    write_jsonl(path, ROWS[:1])
    assert [index.row(number) for number in range(len(index))] == ROWS
    assert len(JsonlIndex(path)) == 1


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="pages of a map are counted by Linux")
def test_a_walk_through_a_file_gives_its_pages_back(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "TRUSTED_SECONDS", 0)
    monkeypatch.setattr(jsonl, "STRIDE", 1 << 17)
    monkeypatch.setattr(jsonl, "WALK", 1 << 20)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"".join(b'{"text": "%s"}\n' % (b"x" * 65_000) for _ in range(256)))
    index = JsonlIndex(path)
    assert [len(index.row(row)["text"]) for row in range(256)] == [65_000] * 256
    assert mapped_bytes(path) < 4 << 20
    # Read at random, the pages stay.
    assert {len(index.row_bytes(row)) for row in random.Random(0).sample(range(256), 256)} == {65_013}
    assert mapped_bytes(path) > 8 << 20


def mapped_bytes(path: Path) -> int:
    """Bytes of a file that lie in this process's memory."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.endswith(str(path)))
    return int(next(line for line in lines[begin:] if line.startswith("Rss:")).split()[1]) * 1024
