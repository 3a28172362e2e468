"""``mm15 data check``: what is reported, how files keep their form without bad rows, and the verb."""

from __future__ import annotations

import csv
import gzip
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from data_fixture import small_processor, write_rows, write_tar
from film_fixture import write_film
from format_fixture import picture
from mm15.base.config import validate
from mm15.base.errors import ConfigError
from mm15.cli import app
from mm15.data.check import CheckReport, check
from mm15.data.examine import Examiner
from mm15.data.open import open_path
from mm15.data.source import Source, SourceConfig
from mm15.datasets import text as text_format
from mm15.dist.map import Engine, WorkError

HERE = Engine(workers=1)


def source(folder: Path, path: str, format: str = "text", category: str = "text_only", **more: Any) -> Source:
    told = {"name": "set", "path": path, "format": format, "category": category} | more
    return Source(validate(SourceConfig, told), folder)


def read(*sources: Source, max_bad: float = 1.0, engine: Engine = HERE, **how: Any) -> CheckReport:
    return check(sources, max_bad, engine=engine, **how)


def texts(found: Source) -> list[str]:
    return [found.sample(row).messages[0].text for row in range(len(found))]


def test_faults_have_address_row_and_fix_and_are_grouped_in_the_text(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", [{"text": "one"}, {"text": ""}, {"txt": "x"}, {"text": "two"}, {"text": " "}])
    report = read(source(tmp_path, "a.jsonl"))
    file = tmp_path / "a.jsonl"
    assert [(fault.address, fault.kind) for fault in report.faults] == [
        (f"{file}:2", "says nothing"),
        (f"{file}:3", "field missing"),
        (f"{file}:5", "says nothing"),
    ]
    assert report.faults[1].reason == "no column 'text'; there are: txt" and report.faults[1].row == '{"txt": "x"}'
    assert report.ok and (report.sources[0].read, report.sources[0].samples) == (5, 2)
    lines = report.text().splitlines()
    assert lines[:3] == ["says nothing: 2", f"  fix: {report.faults[0].fix}", f"  {report.faults[0]}"]
    assert lines[-2] == "set (text): 5 of 5 rows read, 3 bad (60.00%), 2 samples, 0 pictures: ok"
    assert "  … and 1 more: --report FILE" in report.text(shown=1) and "more:" not in report.text(shown=0)


def test_all_that_is_wrong_with_a_sample_is_told(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture(30, 20))
    (tmp_path / "b.png").write_bytes(b"")
    turns = [{"from": "human", "value": "<image><image>?"}, {"from": "gpt", "value": "two \udc00"}]
    row = {"image": ["a.png", "b.png"], "width": [31, 9], "height": [20, 8], "conversations": turns}
    write_rows(tmp_path / "a.jsonl", [row])
    report = read(source(tmp_path, "a.jsonl", "llava", "multi_image"))
    assert [fault.kind for fault in report.faults] == ["wrong size stated", "empty file", "text is not Unicode"]
    assert report.faults[0].reason.endswith("the row states 31 x 20 px, but the picture has 30 x 20")
    assert "b.png" in report.faults[1].reason and report.sources[0].bad_rows == [0]


def test_only_decoding_finds_a_picture_that_is_cut_off(tmp_path: Path):
    whole = picture(900, 600, form="JPEG")
    (tmp_path / "a.jpg").write_bytes(whole[:-200])
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "yes"}]
    write_rows(tmp_path / "a.jsonl", [{"image": "a.jpg", "conversations": turns}])
    rows = source(tmp_path, "a.jsonl", "llava", "general")
    assert read(rows, decode=False).faults == []
    assert [fault.kind for fault in read(rows).faults] == ["damaged picture"]


def test_a_processor_refuses_what_is_too_long(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", [{"text": "short"}, {"text": "long " * 40}])
    rows = source(tmp_path, "a.jsonl")
    assert read(rows).faults == []
    (fault,) = read(rows, processor=small_processor(max_tokens=100)).faults
    assert fault.address.endswith("a.jsonl:2") and "are more than max_tokens = 100" in fault.reason


def test_regions_and_clips_are_looked_at(tmp_path: Path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/0.jpg").write_bytes(picture(30, 20, form="JPEG"))
    (tmp_path / "frames/1.jpg").write_bytes(b"<html>")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"no film")
    turns = [{"from": "human", "value": "<video>\n?"}, {"from": "gpt", "value": "yes"}]
    write_rows(
        tmp_path / "a.jsonl",
        [{"video": name, "conversations": turns} for name in ("frames", "empty.mp4", "none.mp4", "text.mp4")],
    )
    reasons = [fault.reason for fault in read(source(tmp_path, "a.jsonl", "llava", "video")).faults]
    assert "frame 1.jpg: not a readable" in reasons[0] and "0 bytes" in reasons[1] and "no such file" in reasons[2]
    if find_spec("av"):
        assert "not a readable film" in reasons[3]
    kept = read(source(tmp_path, "a.jsonl", "llava", "video"), decode=False).faults
    assert [fault.address.rpartition(":")[2] for fault in kept] == ["1", "2", "3"]


@pytest.mark.video
def test_films_are_decoded_at_two_places(tmp_path: Path):
    data = write_film(tmp_path / "a.mp4", range(200)).read_bytes()
    first, end = 100, data.index(b"moov") - 4
    half = first + (end - first) // 2
    turns = [{"from": "human", "value": "<video>\n?"}, {"from": "gpt", "value": "yes"}]
    for name, place in (("b", half), ("c", first)):
        (tmp_path / f"{name}.mp4").write_bytes(data[:place] + bytes(end - place) + data[end:])
    write_rows(tmp_path / "a.jsonl", [{"video": f"{name}.mp4", "conversations": turns} for name in "abc"])
    clips = source(tmp_path, "a.jsonl", "llava", "video")
    report = read(clips)
    (fault,), (note,) = report.faults, report.notes
    assert fault.address.endswith(":3") and "none of 2 frames can be decoded: damaged" in fault.reason
    assert note.address.endswith(":2") and note.kind == "clip with damaged frames" and "one of 2" in note.detail
    long = read(clips, decode=False, processor=small_processor(max_tokens=100)).faults
    assert len(long) == 3 and "are more than max_tokens = 100" in long[0].reason


def test_a_format_that_fails_is_a_fault_of_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_rows(tmp_path / "a.jsonl", [{"text": "one"}])
    monkeypatch.setattr(text_format, "to_samples", lambda row, context: row["text"]["deeper"])
    (fault,) = read(source(tmp_path, "a.jsonl")).faults
    assert fault.kind == "the format failed" and "TypeError" in fault.reason
    assert re.search(r"source\.py:\d+ > test_check\.py:\d+\)$", fault.reason), "where it failed is told"


def test_what_is_no_matter_of_a_row_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_rows(tmp_path / "a.jsonl", [{"text": "one"}])
    monkeypatch.setattr(text_format, "to_samples", lambda row, context: undefined)  # noqa: F821
    with pytest.raises(WorkError, match=r"(?s)set, rows .*a\.jsonl:1: NameError: .*in <lambda>"):
        read(source(tmp_path, "a.jsonl"))


def test_pages_are_named_by_number_and_their_row_is_bad_once(tmp_path: Path):
    record = {"pages": [{"text": ["a"], "bbox": [[0, 0, 1, 1]]}, {"text": ["b"], "bbox": [[0, 0, 1, 1]]}]}
    tif = picture(30, 20, form="TIFF")
    write_tar(tmp_path / "a.tar", [("0.json", json.dumps(record).encode()), ("0.tif", tif[:-100])])
    report = read(source(tmp_path, "a.tar", "ocr-wds", "ocr"))
    assert [fault.address for fault in report.faults] == [f"{tmp_path}/a.tar:0/0"]
    assert report.sources[0].bad_rows == [0] and report.sources[0].samples == 1


def test_files_that_cannot_be_opened_are_told_and_the_others_are_read(tmp_path: Path):
    (tmp_path / "shards").mkdir()
    for name in ("a", "c"):
        write_tar(tmp_path / f"shards/{name}.tar", [("0.png", picture()), ("0.txt", name.encode())])
    (tmp_path / "shards/b.tar").write_bytes(b"no tar" * 500)
    report = read(source(tmp_path, "shards/*.tar", "wds-pairs", "caption"))
    assert not report.ok and report.sources[0].read == 2
    assert [fault.address for fault in report.faults] == [f"{tmp_path}/shards/b.tar"]
    assert report.faults[0].reason.startswith("cannot be opened: not a tar file")
    with pytest.raises(ConfigError, match=r"shards/b\.tar: cannot be opened"):
        report.raise_if_stopped()
    none = read(source(tmp_path, "shards/b.tar", "wds-pairs", "caption"))
    assert not none.ok and none.sources[0].rows == 0 and len(none.faults) == 1


def test_only_the_source_that_is_too_bad_is_stopped(tmp_path: Path):
    write_rows(tmp_path / "bad.jsonl", [{"text": "" if row % 2 else "x"} for row in range(100)])
    write_rows(tmp_path / "good.jsonl", [{"text": "x"} for _ in range(50)])
    bad, good = source(tmp_path, "bad.jsonl", name="bad"), source(tmp_path, "good.jsonl", name="good")
    seen: list[tuple[int, int]] = []
    report = read(bad, good, max_bad=0.1, progress=lambda done, total: seen.append((done, total)))
    assert report.sources[0].read == 22 and report.sources[0].bad_rows == list(range(1, 22, 2))
    assert "stopped after row 22 of 100" in report.sources[0].stopped and "11 bad rows" in report.sources[0].stopped
    assert report.sources[1].ok and report.sources[1].read == 50 and seen[-1] == (72, 72)
    allowed = check([source(tmp_path, "bad.jsonl", max_skip_rate=0.5)], engine=HERE)
    assert allowed.ok and allowed.sources[0].read == 100


ROWS = [{"text": "one", "n": 1}, {"text": "", "n": 2}, {"text": "drei ü", "n": 3}, {"text": "", "n": 4}]


def _jsonl(path: Path) -> bytes:
    lines = [json.dumps(row).encode() for row in ROWS]
    path.write_bytes(lines[0] + b" \r\n\n" + b"\n".join(lines[1:]))
    return lines[0] + b" \r\n" + lines[2] + b"\n"


def _packed(path: Path) -> bytes:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in ROWS).encode()))
    return "".join(f"{json.dumps(row)}\n" for row in ROWS[::2]).encode()


def _array(path: Path) -> bytes:
    path.write_text(json.dumps({"version": 1, "data": ROWS}, indent=1))
    one, three = (json.dumps(row, indent=1).replace("\n", "\n  ") for row in ROWS[::2])
    return f"[\n{one},\n{three}\n]\n".encode()


def _csv(path: Path) -> bytes:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "n"), ('say "one",\nplease', 1), ("", 2), ("three", 3), ("", 4)])
    return b'text,n\r\n"say ""one"",\nplease",1\r\nthree,3\r\n'


@pytest.mark.parametrize(
    ("name", "make"), [("a.jsonl", _jsonl), ("a.jsonl.gz", _packed), ("a.json", _array), ("a.csv", _csv)]
)
def test_good_rows_of_text_files_keep_their_bytes(tmp_path: Path, name: str, make: Any):
    wanted = make(tmp_path / name)
    report = read(source(tmp_path, name), clean=tmp_path / "clean")
    assert report.clean == f"{tmp_path}/clean" and len(report.faults) == 2
    written = tmp_path / "clean/set" / name.removesuffix(".gz")
    assert written.read_bytes().replace(b"\n  ", b"\n ") == wanted.replace(b"\n  ", b"\n ")
    again = check(open_path(tmp_path / "clean").sources, engine=HERE)
    assert again.faults == [] and again.sources[0].samples == 2
    told = json.loads((tmp_path / "clean/report.json").read_text())
    assert [entry["kind"] for entry in told["faults"]] == ["says nothing"] * 2 and told["sources"][0]["bad"] == 2
    assert "says nothing: 2" in (tmp_path / "clean/report.txt").read_text()
    assert len(yaml.safe_load((tmp_path / "clean/sources.yaml").read_text())) == 1


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_tables_are_written_anew_with_their_schema(tmp_path: Path, kind: str):
    table = pa.Table.from_pylist(ROWS).replace_schema_metadata({"huggingface": "{}"})
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=3)
    else:
        opened = pyarrow.ipc.new_file if kind == "arrow" else pyarrow.ipc.new_stream
        with opened(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    read(source(tmp_path, path.name), clean=tmp_path / "clean")
    written = tmp_path / "clean/set" / path.name
    found = pq.read_table(written) if kind == "parquet" else pyarrow.ipc.open_file(str(written)).read_all()
    assert found.to_pylist() == ROWS[::2] and found.schema.metadata == {b"huggingface": b"{}"}


def test_shards_are_written_without_bad_rows_where_pictures_stay_readable(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for shard in range(2):
        members = [
            (f"{row}.{end}", data)
            for row in range(3)
            for end, data in (("txt", b"" if row == shard else b"%d" % row), ("png", picture(9 + row, 5)))
        ]
        write_tar(tmp_path / f"in/{shard}.tar", members)
    rows = source(tmp_path, "in/*.tar", "wds-pairs", "caption")
    read(rows, clean=tmp_path / "clean", engine=Engine(workers=2))
    (again,) = open_path(tmp_path / "clean").sources
    assert texts(again) == ["1", "2", "0", "2"]
    kept = [row for row in range(6) if row not in (0, 4)]
    media = [again.sample(row).images[0].media for row in range(4)]
    assert [ref.size for ref in media] == [rows.sample(row).images[0].media.size for row in kept]
    assert read(again).faults == [] and again.config.path == "set/**/*.tar"
    copy = tmp_path / "again"
    read(rows, clean=copy, engine=HERE)
    for name in ("0.tar", "1.tar"):
        assert (copy / "set" / name).read_bytes() == (tmp_path / "clean/set" / name).read_bytes()


def test_a_clean_folder_is_refused_before_anything_is_read(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", [{"text": "one"}])
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="clean is there already"):
        read(source(tmp_path, "a.jsonl"), clean=tmp_path / "clean")
    boxes = [{"file_name": "a.jpg", "height": 2, "width": 3, "id": 1, "caption": "a", "dataset_name": "x"}]
    (tmp_path / "refs.json").write_text(json.dumps({"images": boxes, "annotations": []}))
    with pytest.raises(ConfigError, match="joins its rows from several files"):
        read(source(tmp_path, "refs.json", "coco-refs", "refer_ground"), clean=tmp_path / "new")
    two = [source(tmp_path, "a.jsonl", name=name) for name in ("a/b", "a_b")]
    with pytest.raises(ConfigError, match="one folder 'a_b'"):
        read(*two, clean=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_of_sources_that_are_too_bad(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", ROWS)
    report = read(source(tmp_path, "a.jsonl"), max_bad=0.1, clean=tmp_path / "clean")
    assert not report.ok and report.clean == "" and not (tmp_path / "clean").exists()


def test_ray_and_pool_report_the_same_and_write_the_same(tmp_path: Path, ray: Engine):
    write_rows(tmp_path / "a.jsonl", ({"text": "" if row % 7 == 3 else f"row {row}"} for row in range(2000)))
    reports = []
    for name, engine in (("pool", Engine(workers=2)), ("ray", ray)):
        report = read(source(tmp_path, "a.jsonl"), engine=engine, clean=tmp_path / name, digests=True)
        reports.append((report.faults, report.digests, report.sources, (tmp_path / name / "set/a.jsonl").read_bytes()))
    assert reports[0] == reports[1] and len(reports[0][0]) == 286


def test_a_worker_that_fails_names_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_rows(tmp_path / "a.jsonl", [{"text": "one"}, {"text": "two"}])

    def broken(self: Examiner, *_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(Examiner, "row", broken)
    with pytest.raises(WorkError, match=r"(?s)set, rows .*a\.jsonl:1 to .*a\.jsonl:2: KeyError"):
        read(source(tmp_path, "a.jsonl"))


def run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_the_verb(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", [*ROWS, {"text": "\ud800"}])
    told = ["check", tmp_path / "a.jsonl", "--format", "text", "--category", "text_only", "--workers", 1]
    assert "a.jsonl:2: 'text' must hold some text" in run(*told, code=1)
    assert "stopped after row 2 of 5" in run(*told, code=1)
    out = run(*told, "--max-bad", 0.6, "--report", tmp_path / "faults.jsonl", "--write-clean", tmp_path / "clean")
    assert "3 bad (60.00%)" in out and f"good rows: {tmp_path}/clean" in out
    faults = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert [(fault["source"], fault["kind"]) for fault in faults] == [
        ("a", "says nothing"),
        ("a", "says nothing"),
        ("a", "text is not Unicode"),
    ]
    found = json.loads(run("check", tmp_path / "clean", "--json", "--workers", 1))
    assert found["ok"] and found["faults"] == [] and found["sources"][0]["samples"] == 2


def test_a_recipe_brings_its_limit_on_length(tmp_path: Path):
    write_rows(tmp_path / "a.jsonl", [{"text": "short"}, {"text": "long " * 400}])
    small_processor().tokenizer.save(tmp_path / "tokenizer.json")
    recipe = {
        "max_tokens": 300,
        "sources": [{"name": "a", "path": "a.jsonl", "format": "text", "category": "text_only", "max_skip_rate": 0.5}],
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    out = run("check", tmp_path / "r.yaml", "--data", tmp_path, "--workers", 1)
    assert "a.jsonl:2: " in out and "more than max_tokens = 300" in out and "1 bad (50.00%)" in out
