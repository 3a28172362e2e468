"""Rows of CSV and TSV files by number; a broken row takes no neighbour with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError, SkipSample
from mm15.io.csv_rows import CsvRows


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_quoted_cells_hold_commas_quotes_and_line_ends(tmp_path: Path):
    path = write(tmp_path / "a.csv", 'id,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,\u2028x\x0cy\n3,"日本\n\n"')
    rows = CsvRows(path)
    assert rows.columns == ["id", "text"]
    assert [rows.row(k) for k in (2, 0, 1)] == [
        {"id": "3", "text": "日本\n\n"},
        {"id": "1", "text": 'a, "b"\r\nc'},
        {"id": "2", "text": "\u2028x\x0cy"},
    ]
    assert [rows.address(k) for k in range(3)] == [f"{path}:{line}" for line in (2, 5, 6)]
    assert pickle.loads(pickle.dumps(rows)).row(2)["id"] == "3" and len(pickle.dumps(rows)) < 300
    for row in (3, -1):
        with pytest.raises(IndexError, match=f"3 rows, there is no row {row}"):
            rows.row(row)


def test_tsv_with_a_picture_in_a_cell_and_a_byte_order_mark(tmp_path: Path):
    picture = "iVBOR" * 100_000
    path = write(tmp_path / "a.tsv", b"\xef\xbb\xbfindex\timage\tquestion\n0\t" + picture.encode() + b'\t"a\tb"\n')
    assert CsvRows(path).row(0) == {"index": "0", "image": picture, "question": "a\tb"}


def test_without_quoting_a_quote_is_a_character(tmp_path: Path):
    path = write(tmp_path / "a.tsv", 'id\tutterance\nnt-1\t"how many\nnt-2\tis it 5\' 4" tall?"\n')
    rows = CsvRows(path, quoting=False)
    assert [rows.row(k)["utterance"] for k in range(2)] == ['"how many', 'is it 5\' 4" tall?"']
    assert pickle.loads(pickle.dumps(rows)).row(0)["utterance"] == '"how many'
    assert len(CsvRows(path)) == 2  # Its own index, beside the other.
    assert {file.name for file in tmp_path.iterdir()} == {"a.tsv", "a.tsv.idx", "a.tsv.plain.idx"}


def test_broken_rows_are_named_and_alone(tmp_path: Path):
    data = b'id,text\n1,one\n2,"never closed\n3,three\n4,four,more\n5\n6,\xff\n7,"a"b\n8,eight\n'
    path = write(tmp_path / "a.csv", data)
    rows = CsvRows(path)
    usable, refused = [], {}
    for number in range(len(rows)):
        try:
            usable.append(rows.row(number)["id"])
        except SkipSample as skip:
            refused[skip.address.rpartition(":")[2]] = skip.reason
    assert usable == ["1", "3", "8"]
    assert set(refused) == {"3", "5", "6", "7", "8"}
    assert "3 cells for 2 columns" in refused["5"] and "1 cells" in refused["6"] and "utf-8" in refused["7"]
    assert "not a row of csv" in refused["3"] and "not a row of csv" in refused["8"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [("", "no header line"), ("a,,b\n1,2,3\n", "empty or repeated"), ("a,a\n1,2\n", "empty or repeated")],
)
def test_headers_that_name_nothing_are_refused(tmp_path: Path, data: str, reason: str):
    path = write(tmp_path / "a.csv", data)
    with pytest.raises(ConfigError, match=rf"a\.csv: {reason}"):
        CsvRows(path).row(0)


def test_the_index_follows_the_file(tmp_path: Path):
    path = write(tmp_path / "a.csv", "id\n1\n2\n")
    assert len(CsvRows(path)) == 2
    write(path, "id\n1\n2\n3\n")
    assert len(CsvRows(path)) == 3 and CsvRows(path).row(2) == {"id": "3"}
    with pytest.raises(FileNotFoundError):
        CsvRows(tmp_path / "none.csv")
