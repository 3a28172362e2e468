"""One door to all kinds of files: by name, in folders, by pattern, end to end."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_fixture import write_tar
from mm15.base.errors import ConfigError
from mm15.io import rows as rows_module
from mm15.io.rows import ConcatRows, open_rows


def lines(*ids: int) -> str:
    return "".join(json.dumps({"id": k}) + "\n" for k in ids)


def test_the_name_of_a_file_says_how_it_is_read(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(lines(1, 2))
    (tmp_path / "b.NDJSON").write_text(lines(1, 2))
    (tmp_path / "c.json").write_text('[{"id": 1}, {"id": 2}]')
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "d.parquet")
    table = pa.table({"id": [1, 2]})
    with pa.ipc.new_stream(str(tmp_path / "e.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "f.csv").write_text("id\n1\n2\n")
    (tmp_path / "g.tsv").write_text("id\n1\n2\n")
    (tmp_path / "h.jsonl.gz").write_bytes(gzip.compress(lines(1, 2).encode()))
    for file in sorted(tmp_path.iterdir()):
        rows = open_rows(file)
        assert [int(rows.row(k)["id"]) for k in range(len(rows))] == [1, 2], file.name
        assert rows.address(1).startswith(str(file)) and rows.address(0) != rows.address(1)
        assert len(pickle.dumps(rows)) < 500 and len(pickle.loads(pickle.dumps(rows))) == 2
    write_tar(tmp_path / "i.tar", [("1.txt", b"x"), ("2.txt", b"y")])
    assert open_rows(tmp_path / "i.tar").row(1)["__key__"] == "2"


@pytest.mark.parametrize("place", ["", "/*.jsonl", "/part-?.jsonl", "/**/*.jsonl"])
def test_a_folder_and_a_pattern_are_their_files_end_to_end_by_name(tmp_path: Path, place: str):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, ids in (("part-b", (3,)), ("part-a", (1, 2)), ("part-d", (4, 5)), ("part-c", ())):
        (folder / f"{name}.jsonl").write_text(lines(*ids))
    (folder / "README.md").write_text("not rows")
    (folder / ".part-0.jsonl").write_text(lines(0))
    for _ in range(2):  # The second time with indexes beside the files.
        rows = open_rows(f"{folder}{place}")
        assert [rows.row(k)["id"] for k in range(len(rows))] == [1, 2, 3, 4, 5]
    assert rows.address(2) == f"{folder}/part-b.jsonl:1" and rows.address(4) == f"{folder}/part-d.jsonl:2"
    assert pickle.loads(pickle.dumps(rows)).row(3) == {"id": 4}
    for row in (5, -1):
        with pytest.raises(IndexError, match=f"have 5 rows, there is no row {row}"):
            rows.row(row)


def test_few_shards_are_open_at_a_time(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(rows_module, "SHARDS_OPEN", 3)
    for k in range(10):
        (tmp_path / f"{k}.jsonl").write_text(lines(k))
    rows = open_rows(tmp_path)
    assert isinstance(rows, ConcatRows)
    assert [rows.row(k)["id"] for k in (9, 0, 5, 0, 9)] == [9, 0, 5, 0, 9] and len(rows._open) == 3


def test_what_cannot_be_chosen_is_refused_with_what_to_write(tmp_path: Path):
    for name in ("0.tar", "1.tar"):
        write_tar(tmp_path / name, [("a.txt", b"x")])
    (tmp_path / "0_stats.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "below" / "data").mkdir(parents=True)
    (tmp_path / "below" / "data" / "x.parquet").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for place, reason in [
        ("", r"files of several kinds \(2 \.tar, 1 \.json\); name one, like '.*/\*\.tar'"),
        ("notes.txt", r"notes\.txt: rows are not read from files of this name; known: \.jsonl"),
        ("*.txt", r"notes\.txt: rows are not read"),
        ("none.jsonl", r"no such file: .*none\.jsonl"),
        ("none/*.tar", r"no such file: .*none/\*\.tar"),
        ("below", r"no files of rows here; there are some below: '.*below/\*\*/\*\.parquet'"),
        ("empty", "no files of rows here; known"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            open_rows(tmp_path / place)
