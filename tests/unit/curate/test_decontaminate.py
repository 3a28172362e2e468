"""Overlapping rows are found across formats, told with both addresses, and left out of the copy."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from data_fixture import write_rows, write_tar, write_texts
from mm15.base.errors import ConfigError
from mm15.cli import app
from mm15.curate.decontaminate import Rule, decontaminate
from mm15.data.open import sources_of
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import Engine

HERE = Engine(workers=1)
LONG = "how many of the green boats on the northern lake are moored at the old wooden pier this evening"


def scene(number: int, width: int = 120, height: int = 90) -> Image.Image:
    """A picture with large shapes, another for every number."""
    small = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "JPEG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def turns(question: str, answer: str = "yes") -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def source(folder: Path, name: str, format: str = "llava", category: str = "general", path: str = "") -> Source:
    values = {"name": name, "path": path or f"{name}.jsonl", "format": format, "category": category}
    return Source(SourceConfig.model_validate(values), folder)


@pytest.fixture
def train(tmp_path: Path) -> Source:
    """Eight rows: 0-5 with pictures 0-5, 6 with two, 7 with text alone; 2 asks LONG and a bit more."""
    rows: list[dict[str, Any]] = []
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encoded(scene(number), "PNG"))
        asked = f"Tell me, {LONG}, please?" if number == 2 else "What color is the car?"
        rows.append({"image": f"{number}.png", "conversations": turns(f"<image>\n{asked}")})
    rows.append({"image": ["4.png", "5.png"], "conversations": turns("<image><image>Which is larger?")})
    rows.append({"conversations": turns("Name a colour that is warm.", "Red")})
    write_rows(tmp_path / "train.jsonl", rows)
    return source(tmp_path, "train")


@pytest.fixture
def benchmark(tmp_path: Path) -> Source:
    """A Parquet file with other files of pictures 0 and 5, one of its own, and the long question on another picture."""
    pictures = [
        encoded(scene(0).resize((77, 51)), quality=40),
        encoded(scene(50), "PNG"),
        encoded(scene(51)),
        encoded(scene(5), "WEBP"),
    ]
    asked = ["What color is the car?", "What color is the car?", f"{LONG.upper()}!", "What is it?"]
    rows = [
        {"image": {"bytes": data, "path": None}, "conversations": turns(f"<image>\n{question}")}
        for data, question in zip(pictures, asked, strict=True)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "bench.parquet")
    return source(tmp_path, "bench", path="bench.parquet")


def test_pictures_and_questions_are_found_across_formats(train: Source, benchmark: Source, tmp_path: Path):
    told: list[tuple[int, int]] = []
    report = decontaminate([train], [benchmark], engine=HERE, progress=lambda done, of: told.append((done, of)))
    (about,) = report.sources
    assert about.overlapping == {0: "both", 2: "question", 5: "picture", 6: "picture"}
    assert (about.rows, about.pictures, about.unusable) == (8, 8, 0)
    pairs = {(pair.address, pair.against_address): pair for pair in report.pairs}
    bench, rows = f"{tmp_path}/bench.parquet#row ", f"{tmp_path}/train.jsonl:"
    assert set(pairs) == {(f"{rows}{line}", f"{bench}{row}") for line, row in ((1, 0), (3, 2), (6, 3), (7, 3))}
    assert 0 <= pairs[f"{rows}1", f"{bench}0"].distance <= 6
    assert pairs[f"{rows}3", f"{bench}2"].distance == -1 and pairs[f"{rows}3", f"{bench}2"].containment == 1.0
    assert (report.questions, report.short_questions) == (1, 3)
    assert told[-1] == (12, 12)
    text = report.text()
    assert "4 rows overlap (50.00%): 1 share picture and question, 2 a picture, 1 a question" in text
    assert f"{rows}3 ~ {bench}2: 100% of a question" in text


@pytest.mark.parametrize(
    ("by", "rows"), [("picture", {0, 5, 6}), ("question", {0, 2}), ("both", {0}), ("either", {0, 2, 5, 6})]
)
def test_what_must_be_shared_is_an_option(train: Source, benchmark: Source, by: Any, rows: set[int]):
    report = decontaminate([train], [benchmark], Rule(by=by), engine=HERE)
    assert set(report.sources[0].overlapping) == rows


def test_the_other_rows_are_written_as_they_were(train: Source, benchmark: Source, tmp_path: Path):
    texts = Source(write_texts(tmp_path, "texts", 5), tmp_path)
    out = tmp_path / "out"
    report = decontaminate([train, texts], [benchmark], out=out, engine=HERE)
    assert report.out == str(out)
    lines = (tmp_path / "train.jsonl").read_bytes().splitlines(keepends=True)
    assert (out / "train" / "train.jsonl").read_bytes() == b"".join(lines[n] for n in (1, 3, 4, 7))
    assert (out / "texts" / "texts.jsonl").read_bytes() == (tmp_path / "texts.jsonl").read_bytes()
    cleaned, _ = sources_of(out)
    assert [cleaned.sample(n).messages for n in range(4)] == [train.sample(n).messages for n in (1, 3, 4, 7)]
    told = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [pair["kind"] for pair in told["pairs"]] == ["both", "question", "picture", "picture"]
    assert (told["sources"][0]["picture"], told["sources"][0]["question"], told["sources"][0]["both"]) == (2, 1, 1)
    assert decontaminate(sources_of(out), [benchmark], engine=HERE).pairs == []
    with pytest.raises(ConfigError, match="is there already"):
        decontaminate([train], [benchmark], out=out, engine=HERE)


def test_several_processes_find_the_same(train: Source, benchmark: Source, monkeypatch: pytest.MonkeyPatch):
    import mm15.curate.decontaminate as module

    monkeypatch.setattr(module, "CHUNK", 3)
    one = decontaminate([train], [benchmark], engine=HERE)
    two = decontaminate([train], [benchmark], engine=Engine(workers=2))
    assert one.pairs == two.pairs and one.sources == two.sources and one.against == two.against


def test_tars_of_captions_and_documents(tmp_path: Path):
    """A row's document is a question too; members of a tar are addressed by their key."""
    members = [(f"s/{n:03}.jpg", encoded(scene(n))) for n in range(3)] + [
        (f"s/{n:03}.txt", f"picture {n}".encode()) for n in range(3)
    ]
    write_tar(tmp_path / "pairs.tar", sorted(members))
    (tmp_path / "x.png").write_bytes(encoded(scene(1, 240, 180), "PNG"))
    write_rows(tmp_path / "held.jsonl", [{"image": "x.png", "conversations": turns("<image>?")}])
    write_rows(tmp_path / "docs.jsonl", [{"text": f"On Monday. {LONG}. Nobody knows."}, {"text": "Something else."}])
    write_rows(tmp_path / "asked.jsonl", [{"conversations": turns(LONG)}])
    report = decontaminate(
        [source(tmp_path, "pairs", "wds-pairs", "caption", "pairs.tar"), source(tmp_path, "docs", "text", "text")],
        [source(tmp_path, "held"), source(tmp_path, "asked")],
        engine=HERE,
    )
    assert [(pair.address, pair.against, pair.kind) for pair in report.pairs] == [
        (f"{tmp_path}/pairs.tar:s/001", "held", "picture"),
        (f"{tmp_path}/docs.jsonl:1", "asked", "question"),
    ]


def test_what_cannot_be_compared_is_counted_and_kept(tmp_path: Path):
    Image.new("RGB", (90, 60), "orange").save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = [
        {"image": "plain.png", "conversations": turns("<image>?")},
        {"image": "broken.png", "conversations": turns("<image>?")},
        {"image": "plain.png", "conversations": turns("no placeholder")},
        {"video": "clip.mp4", "conversations": turns("<video>?")},
    ]
    write_rows(tmp_path / "odd.jsonl", rows)
    odd = source(tmp_path, "odd")
    report = decontaminate([odd], [odd], out=tmp_path / "out", engine=HERE)
    (about,) = report.sources
    assert (about.unusable, about.pictures, about.plain, about.unreadable, about.clips) == (1, 2, 1, 1, 1)
    assert about.overlapping == {} and report.pairs == []
    assert (tmp_path / "out" / "odd" / "odd.jsonl").read_bytes() == (tmp_path / "odd.jsonl").read_bytes()
    text = report.text()
    for told in (
        "1 rows cannot be used and were not compared",
        "1 pictures cannot be read",
        "1 pictures of one colour were not compared",
        "1 clips were not compared",
    ):
        assert told in text


def test_only_the_first_hits_of_a_row_are_told_and_the_others_counted(tmp_path: Path, train: Source):
    write_rows(tmp_path / "many.jsonl", [{"image": "3.png", "conversations": turns(f"<image>{n}")} for n in range(9)])
    report = decontaminate([train], [source(tmp_path, "many")], engine=HERE)
    assert len(report.pairs) == 5 and {pair.others for pair in report.pairs} == {4}
    assert "(and 4 more)" in report.text(1) and "… 4 more pairs" in report.text(1)


def test_every_wrong_value_of_a_rule_is_told():
    with pytest.raises(ConfigError) as caught:
        Rule(bits=12, ngram=0, containment=0.0, by="all")  # type: ignore[arg-type]
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "--bits 12",
        "--ngram 0",
        "--containment 0",
        "--by all",
    ]


def test_the_verb(train: Source, benchmark: Source, tmp_path: Path):
    out, pairs = tmp_path / "clean", tmp_path / "pairs.jsonl"
    arguments = [
        *("data", "decontaminate", str(tmp_path / "train.jsonl"), "--format", "llava", "--category", "general"),
        *("--against", str(tmp_path / "bench.parquet"), "--workers", "1"),
    ]
    shown = CliRunner().invoke(app, [*arguments, "--out", str(out), "--report", str(pairs)], catch_exceptions=False)
    assert (
        shown.exit_code == 0 and "4 rows overlap (50.00%)" in shown.stdout and f"the other rows: {out}" in shown.stdout
    )
    assert [json.loads(line)["kind"] for line in pairs.read_text(encoding="utf-8").splitlines()] == [
        "both",
        "question",
        "picture",
        "picture",
    ]
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json", "--by", "both"], catch_exceptions=False).stdout)
    assert len(told["pairs"]) == 1 and told["rule"]["by"] == "both"
    built = [*arguments[:2], str(out), "--against", str(tmp_path / "bench.parquet"), "--against-format", "llava"]
    shown = CliRunner().invoke(app, [*built, "--workers", "1"], catch_exceptions=False)
    assert "0 rows overlap" in shown.stdout


def test_who_works_changes_neither_report_nor_bytes(train: Source, benchmark: Source, tmp_path: Path, ray: Engine):
    reports, files = [], []
    for name, engine in (("here", HERE), ("ray", ray)):
        report = decontaminate([train], [benchmark], Rule(), tmp_path / name, engine)
        reports.append(report.to_json() | {"seconds": 0, "out": ""})
        files.append((tmp_path / name / "train/train.jsonl").read_bytes())
    assert reports[0] == reports[1] and len(reports[1]["pairs"]) >= 3 and files[0] == files[1] != b""
