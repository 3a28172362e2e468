"""The option ``where``: the rows of one data set out of a file of several, counted and never taken for faults."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_fixture import small_processor
from format_fixture import picture, write_parquet
from mm15.base.config import validate
from mm15.base.errors import ConfigError
from mm15.data.check import check
from mm15.data.source import Source, SourceConfig

NAMES = ["DocVQA", "TabFact", "DocVQA", "WikiTableQuestions", "TabFact", "DocVQA"]


def row(name: str, number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"<|image|>Q{number}?"}, {"role": "assistant", "content": name}]
    return {"image": ["a.png"], "messages": messages, "dataset_name": name, "fold": number % 2}


def source(folder: Path, path: str = "train.jsonl", form: str = "docowl-jsonl", **where: Any) -> Source:
    told = {"name": "part", "path": path, "format": form, "category": "text_rich", "options": {"where": where}}
    return Source(validate(SourceConfig, told), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(picture())
    lines = [json.dumps(row(name, number)) + "\n" for number, name in enumerate(NAMES)]
    (tmp_path / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def asked(source: Source) -> list[str]:
    return [source.sample(number).messages[0].text for number in range(len(source))]


def test_one_name_several_names_and_several_columns(folder: Path):
    tabfact = source(folder, dataset_name="TabFact")
    assert asked(tabfact) == ["Q1?", "Q4?"] and tabfact.not_selected == 4
    assert tabfact.address(1) == f"{folder / 'train.jsonl'}:5", "as the file counts"
    assert asked(source(folder, dataset_name=["TabFact", "WikiTableQuestions"])) == ["Q1?", "Q3?", "Q4?"]
    assert asked(source(folder, dataset_name="DocVQA", fold=0)) == ["Q0?", "Q2?"]
    everything = source(folder)
    assert len(everything) == 6 and everything.not_selected == 0


def test_what_is_selected_is_read_once_travels_and_is_read_again_where_the_file_changes(folder: Path, monkeypatch):
    first = source(folder, dataset_name="DocVQA")
    assert len(first) == 3 and int(first.costs(small_processor())[:, 0].min()) > 0
    monkeypatch.setattr("mm15.data.source.rows_that_fit", lambda *_: pytest.fail("read again"))
    assert asked(source(folder, dataset_name="DocVQA")) == asked(pickle.loads(pickle.dumps(first)))
    monkeypatch.undo()
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row("DocVQA", 6)) + "\n")
    assert asked(source(folder, dataset_name="DocVQA"))[-1] == "Q6?"


def test_rows_that_are_not_selected_are_counted_and_are_no_faults(folder: Path, tmp_path: Path):
    bad = row("TabFact", 7) | {"messages": []}
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(bad) + "\n" + '{"cut\n')
    report = check([source(folder, dataset_name="DocVQA")], max_bad=0.5, clean=tmp_path / "good")
    (about,) = report.sources
    assert (about.rows, about.not_selected, about.read, about.samples) == (4, 4, 4, 3)
    assert [fault.address.rpartition(":")[2] for fault in report.faults] == ["8"], (
        "the bad TabFact row is not looked at"
    )
    assert "4 of 4 rows read, 1 bad (25.00%), 4 not selected, 3 samples" in report.text()
    assert report.to_json()["sources"][0]["not_selected"] == 4
    # The good rows of the selection, and still selected where they are read from now on.
    (told,) = yaml.safe_load((tmp_path / "good" / "sources.yaml").read_text())
    clean = Source(validate(SourceConfig, told), tmp_path / "good")
    assert asked(clean) == ["Q0?", "Q2?", "Q5?"] and clean.not_selected == 0


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({"dataset_nme": "DocVQA"}, r"train\.jsonl:1: option 'where': no column 'dataset_nme'; there are: image, mess"),
        ({"dataset_name": "DocVQA", "spilt": 1}, "option 'where': no column 'spilt'"),
        (
            {"dataset_name": "DocVAQ"},
            r"option 'where' selects no row; dataset_name = DocVAQ \(did you mean 'DocVQA'\?\); "
            r"found: DocVQA \(3\), TabFact \(2\), WikiTableQuestions \(1\)",
        ),
        ({"dataset_name": "TabFact", "fold": 2}, r"found: DocVQA .*; fold = 2; found: 0 \(3\), 1 \(3\)"),
    ],
)
def test_a_selection_that_fits_nothing_says_what_there_is(folder: Path, where: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        len(source(folder, **where))
    report = check([source(folder, **where)])
    assert not report.ok and "option 'where'" in report.faults[0].reason


def test_a_column_that_is_missing_far_down_stops_by_name_whoever_reads(folder: Path, monkeypatch):
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row("DocVQA", 6) | {"dataset_name": "x"}).replace('"dataset_name"', '"name"') + "\n")
    monkeypatch.setattr("mm15.data.costs.POOL_FROM", 2)
    with pytest.raises(ConfigError, match=r"train\.jsonl:7: option 'where': no column 'dataset_name'"):
        len(source(folder, dataset_name="DocVQA"))


@pytest.mark.parametrize("form", ["llava", "messages", "qa-columns"])
def test_every_format_of_mixed_files_selects_alike(tmp_path: Path, form: str):
    rows = []
    for number, name in enumerate(["one", "two", "one"]):
        said = [f"Q{number}?", "A."]
        llava = [{"from": who, "value": text} for who, text in zip(("human", "gpt"), said, strict=True)]
        chat = [{"role": who, "content": text} for who, text in zip(("user", "assistant"), said, strict=True)]
        column = {"llava": {"conversations": llava}, "messages": {"messages": chat}}
        rows.append({"source": name, **column.get(form, {"question": said[0], "answer": said[1]})})
    write_parquet(tmp_path / "a.parquet", rows)
    part = source(tmp_path, "*.parquet", form, source="one")
    assert asked(part) == ["Q0?", "Q2?"] and part.not_selected == 1
    assert part.shard_of(1)[1] == 2
