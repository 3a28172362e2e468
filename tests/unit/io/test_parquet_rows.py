"""Rows of Parquet and Arrow files: plain values, one group at a time, damage by name."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm15.base.errors import ConfigError, MissingExtra, SkipSample
from mm15.io import parquet
from mm15.io.parquet import ArrowRows, ParquetRows

ROWS = [
    {
        "id": k,
        "image": {"bytes": bytes([k, 255]), "path": f"{k}.png"} if k % 3 else None,
        "texts": [{"user": f"q{k}", "assistant": "日本"}] * (k % 2),
        "score": k / 4,
    }
    for k in range(25)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=10)
    return tmp_path / "a.parquet"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch):
    monkeypatch.setattr(parquet, "_cache", parquet._Cache())


def test_rows_are_plain_values_at_random(path: Path):
    rows = ParquetRows(path)
    assert len(rows) == 25
    assert [rows.row(k) for k in (24, 0, 11, 9, 10)] == [ROWS[k] for k in (24, 0, 11, 9, 10)]
    assert rows.address(11) == f"{path}#row 11"
    assert type(rows.row(1)["image"]) is dict and rows.row(1)["image"]["bytes"] == b"\x01\xff"
    for row in (25, -1):
        with pytest.raises(IndexError, match=f"25 rows, there is no row {row}"):
            rows.row(row)


def test_pickled_as_a_path(path: Path):
    rows = ParquetRows(path)
    rows.row(3)
    assert len(pickle.dumps(rows)) < 300 and pickle.loads(pickle.dumps(rows)).row(3) == ROWS[3]


def test_a_group_is_decoded_once_and_the_cache_is_bounded(path: Path, monkeypatch):
    rows, read = ParquetRows(path), []
    monkeypatch.setattr(ParquetRows, "_read", lambda self, g: read.append(g) or self._file.read_row_group(g))
    for k in (0, 3, 12, 9, 24, 0):
        rows.row(k)
    assert read == [0, 1, 2]
    monkeypatch.setattr(parquet, "_cache", parquet._Cache())
    monkeypatch.setattr(parquet, "CACHE_BYTES", 1)
    for k in (1, 11, 12, 2):
        assert rows.row(k) == ROWS[k]
    assert read[3:] == [0, 1, 0] and len(parquet._cache._kept) == 1
    assert parquet._cache._bytes == next(iter(parquet._cache._kept.values())).nbytes


def test_another_file_under_the_name_is_another_file(path: Path):
    assert ParquetRows(path).row(0)["id"] == 0
    pq.write_table(pa.Table.from_pylist(ROWS[5:]), path, row_group_size=10)
    assert ParquetRows(path).row(0)["id"] == 5


def test_large_groups_are_walked_in_slices(path: Path, monkeypatch):
    monkeypatch.setattr(parquet, "LARGE_GROUP", 10)
    monkeypatch.setattr(parquet, "SLICE_BYTES", 100)
    monkeypatch.setattr(ParquetRows, "_read", lambda *_: pytest.fail("a whole group was decoded"))
    rows = ParquetRows(path)
    assert [rows.row(k) for k in range(25)] == ROWS
    assert [rows.row(k) for k in (24, 3, 17, 2, 19)] == [ROWS[k] for k in (24, 3, 17, 2, 19)]


def test_a_damaged_group_is_refused_row_by_row_and_the_others_are_not(path: Path):
    # The checksums of the pages tell.
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=10, write_page_checksum=True, compression="none")
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(data)
    rows = ParquetRows(path)
    refused = []
    for k in range(25):
        try:
            assert rows.row(k) == ROWS[k]
        except SkipSample as skip:
            assert skip.address == f"{path}#row {k}" and "row group 1 cannot be decoded" in skip.reason
            refused.append(k)
    assert refused == list(range(10, 20))


def test_one_text_that_is_no_utf8_spoils_its_row_only(path: Path):
    bad = pa.array([b"good", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": bad}), path)
    rows = ParquetRows(path)
    with pytest.raises(SkipSample, match=r"a\.parquet#row 1: cannot be decoded"):
        rows.row(1)
    assert [rows.row(k)["text"] for k in (0, 2)] == ["good", "too"]


@pytest.mark.parametrize("damage", ["cut", "empty", "junk"])
def test_what_is_no_parquet_file_is_refused_by_name(path: Path, damage: str):
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "junk": b"PAR1 and no more than this PAR1"}[damage])
    with pytest.raises(ConfigError, match=r"a\.parquet: cannot be read as parquet"):
        ParquetRows(path)
    with pytest.raises(FileNotFoundError):
        ParquetRows(path.with_name("none.parquet"))


def test_without_pyarrow_the_extra_is_named(path: Path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match=r"needs the package 'pyarrow'.*pip install 'mm15\[parquet\]'"):
        ParquetRows(path)


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files_and_streams(tmp_path: Path, kind: str):
    table = pa.Table.from_pylist(ROWS)
    path = tmp_path / "a.arrow"
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    rows = ArrowRows(path)
    assert len(rows) == 25 and [rows.row(k) for k in (24, 0, 10)] == [ROWS[k] for k in (24, 0, 10)]
    assert rows.address(4) == f"{path}#row 4"
    assert pickle.loads(pickle.dumps(rows)).row(9) == ROWS[9]
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(ConfigError, match=r"a\.arrow: cannot be read as arrow"):
        ArrowRows(path)
