"""Sources of several files, with options, with a store, and of formats that make several samples of a row."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mm15.datasets
from data_fixture import small_processor, write_pictures, write_rows, write_tar
from mm15.base import catalogue
from mm15.base.config import Strict, validate
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import Sample, document
from mm15.data import costs as costs_module
from mm15.data.source import Source, SourceConfig, open_sources
from mm15.datasets import cauldron
from mm15.datasets._context import RowContext
from mm15.processor import Processor


class Options(Strict):
    field: str = "text"
    joiner: str = "\n"
    pages: int = 2


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """A sample for every page of a row."""
    if row[context.options.field] is None:
        raise SkipSample("no pages")
    pages = context.json(row[context.options.field])
    return [
        context.sample(row, [document(context.options.joiner.join(page))], {context.options.field}, number)
        for number, page in enumerate(pages)
    ]


class FolderRows:
    """The lines of all .line files below a folder."""

    def __init__(self, path: Path, options: Options) -> None:
        self.files = sorted(path.rglob("*.line"))

    def __len__(self) -> int:
        return len(self.files)

    def row(self, row: int) -> dict[str, Any]:
        return {"text": [[self.files[row].read_text()]]}

    def address(self, row: int) -> str:
        return str(self.files[row])


@pytest.fixture
def formats(monkeypatch):
    """Formats 'many-pages' and 'line-folder', as if they were files in the datasets folder."""
    many, folder = ModuleType("mm15.datasets.many_pages"), ModuleType("mm15.datasets.line_folder")
    for module in (many, folder):
        module.__dict__.update(to_samples=to_samples, Options=Options, MANY=True)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    folder.__dict__.update(open_rows=FolderRows)
    real = catalogue.names
    monkeypatch.setattr(
        catalogue,
        "names",
        lambda package: (
            sorted([*real(package), "many-pages", "line-folder"])
            if package == mm15.datasets.__name__
            else real(package)
        ),
    )


def config(**more: Any) -> SourceConfig:
    return validate(SourceConfig, {"name": "set", "format": "text", "category": "text_only"} | more)


def texts(source: Source) -> list[str]:
    return [source.sample(k).messages[0].text for k in range(len(source))]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    for k in range(3):
        write_rows(tmp_path / f"shards/{k}.jsonl", [{"text": f"shard {k} row {row}"} for row in range(k + 1)])
    return tmp_path


@pytest.mark.parametrize("path", ["shards", "shards/*.jsonl", "**/[0-9].jsonl"])
def test_shards_are_one_source(shards: Path, path: str, monkeypatch):
    source = Source(config(path=path), shards)
    assert texts(source) == [f"shard {k} row {row}" for k in range(3) for row in range(k + 1)]
    assert source.sample(4).key == "set/4" and source.address(4) == f"{shards}/shards/2.jsonl:2"
    assert source.root == str(shards if path.startswith("**") else shards / "shards")
    calls = []
    count = Processor.count
    monkeypatch.setattr(Processor, "count", lambda self, sample: calls.append(sample.key) or count(self, sample))
    costs = source.costs(small_processor())
    assert costs.shape == (6, 2) and (costs[:, 0] > 0).all() and len(calls) == 6
    again = Source(config(path=path), shards)
    assert np.array_equal(again.costs(small_processor()), costs) and len(calls) == 6
    assert len(list(shards.glob("shards/0.jsonl.*.costs.npz"))) == 1
    write_rows(shards / "shards/1.jsonl", [{"text": "new"}])
    changed = Source(config(path=path), shards)
    assert len(changed.costs(small_processor())) == 5 and len(calls) == 11
    assert changed.fingerprint != source.fingerprint
    assert pickle.loads(pickle.dumps(changed)).sample(1).messages[0].text == "new"


def test_the_fingerprint_of_shards_knows_every_file_and_not_the_place(shards: Path, tmp_path: Path):
    one = Source(config(path="shards"), shards)
    (tmp_path / "moved").mkdir()
    for file in (shards / "shards").glob("*.jsonl"):
        (tmp_path / "moved" / file.name).write_bytes(file.read_bytes())
    assert Source(config(path="moved"), tmp_path).fingerprint == one.fingerprint
    assert one.fingerprint.startswith(
        f"6 rows, {sum(f.stat().st_size for f in (shards / 'moved').glob('?.jsonl'))} bytes, "
    )
    path = tmp_path / "moved" / "1.jsonl"
    path.write_text(path.read_text().replace("row 1", "row 9"))
    assert Source(config(path="moved"), tmp_path).fingerprint != one.fingerprint


def test_parquet_and_tar_are_sources_too(tmp_path: Path):
    pq.write_table(pa.table({"text": ["one", "", "three"]}), tmp_path / "a.parquet")
    source = Source(config(path="a.parquet"), tmp_path)
    costs, skips = source.scan(small_processor())
    assert (costs[:, 0] > 0).tolist() == [True, False, True]
    assert [str(skip) for skip in skips] == [f"{tmp_path}/a.parquet#row 1: 'text' must hold some text, found str"]
    (tmp_path / "a.jpg").write_bytes(b"")
    write_tar(tmp_path / "a.tar", [("0.txt", b"x")])
    assert Source(config(path="a.tar"), tmp_path).address(0) == f"{tmp_path}/a.tar:0"


def test_nothing_at_the_path_is_refused(tmp_path: Path):
    for path in ("none.jsonl", "none", "none/*.tar"):
        with pytest.raises(ConfigError, match="source 'set': no such file: "):
            Source(config(path=path), tmp_path)


def test_a_format_may_make_several_samples_of_a_row(tmp_path: Path, formats, monkeypatch):
    rows = [{"text": [["a", "b"], ["c"]], "id": 1}, {"text": None}, {"text": []}, {"text": [["d"]], "id": 4}]
    write_rows(tmp_path / "a.jsonl", rows)
    source = Source(config(path="a.jsonl", format="many-pages", options={"joiner": "-"}), tmp_path)
    assert len(source) == 5
    assert [source.sample(k).messages[0].text for k in (0, 1, 4)] == ["a-b", "c", "d"]
    assert [source.sample(k).key for k in (4, 1, 0)] == ["set/3/0", "set/0/1", "set/0/0"]
    assert [source.address(k).removeprefix(str(tmp_path)) for k in (1, 4)] == ["/a.jsonl:1/1", "/a.jsonl:4/0"]
    assert source.row(4)["id"] == 4 and source.sample(1).meta == {"id": 1}
    for index, reason in ((2, "no pages"), (3, "makes no sample of this row")):
        with pytest.raises(SkipSample, match=rf"a\.jsonl:{index}/0: .*{reason}"):
            source.sample(index)
    with pytest.raises(IndexError, match="has 5 samples, there is no sample 5"):
        source.sample(5)
    costs, skips = source.scan(small_processor())
    assert (costs[:, 0] > 0).tolist() == [True, True, False, False, True] and [skip.row for skip in skips] == [2, 3]
    assert pickle.loads(pickle.dumps(source)).sample(1).messages[0].text == "c"
    monkeypatch.setattr(Source, "samples_of_row", lambda *_: pytest.fail("counted again"))
    again = Source(config(path="a.jsonl", format="many-pages", options={"joiner": "-"}), tmp_path)
    assert len(again) == 5 and np.array_equal(again.costs(small_processor()), costs)


def test_the_count_of_samples_follows_files_and_options(tmp_path: Path, formats):
    write_rows(tmp_path / "a.jsonl", [{"text": [["a"], ["b"]], "other": [["c"]]}])
    make = lambda **options: Source(config(path="a.jsonl", format="many-pages", options=options), tmp_path)  # noqa: E731
    assert len(make()) == 2 and len(make(field="other")) == 1
    assert make().fingerprint != make(field="other").fingerprint
    held = make()
    assert len(held) == 2
    write_rows(tmp_path / "a.jsonl", [{"text": [["a"]]}])
    assert len(make()) == 1
    del held._rows, held._all_rows
    with pytest.raises(SkipSample, match="sample 1 of a row that now makes only 1: did its files change"):
        held.sample(1)


def test_a_damaged_count_is_made_again(tmp_path: Path, formats):
    write_rows(tmp_path / "a.jsonl", [{"text": [["a"], ["b"]]}])
    assert len(Source(config(path="a.jsonl", format="many-pages"), tmp_path)) == 2
    (sidecar,) = tmp_path.glob("*.many.npz")
    sidecar.write_bytes(b"junk")
    assert len(Source(config(path="a.jsonl", format="many-pages"), tmp_path)) == 2


def test_a_format_may_open_its_own_rows(tmp_path: Path, formats):
    for name in ("b/two.line", "a/one.line"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_text(name)
    source = Source(config(path="set", format="line-folder"), tmp_path)
    assert texts(source) == ["a/one.line", "b/two.line"] and source.root == f"{tmp_path}/set"
    before = source.costs(small_processor())
    (tmp_path / "set/a/one.line").write_text("longer than before")
    after = Source(config(path="set", format="line-folder"), tmp_path).costs(small_processor())
    assert after[0, 0] > before[0, 0] and after[1, 0] == before[1, 0]


def test_options_are_checked_with_everything_else(formats):
    raw = {"name": "set", "path": "a", "format": "many-pages", "category": "wrong"}
    with pytest.raises(ConfigError) as error:
        validate(SourceConfig, raw | {"options": {"joinr": "", "pages": "two"}, "weigth": 1})
    told = sorted(error.value.problems)
    assert len(told) == 4 and told[0].startswith("category: ")
    assert told[1].startswith("options.joinr: unknown key (did you mean 'joiner'?); known here: field, joiner, pages")
    assert told[2].startswith("options.pages: ") and "(found 'two')" in told[2]
    assert told[3].startswith("weigth: unknown key")
    with pytest.raises(ConfigError, match=r"options\.joiner: format 'cauldron' has no options; remove it"):
        config(path="a", format="cauldron", options={"joiner": ""})
    assert not hasattr(cauldron, "Options")


def test_a_store_finds_pictures_that_rows_name_by_address(tmp_path: Path):
    write_pictures(tmp_path, "seen", 2)
    rows = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    for row in rows:
        row["image"] = "https://example.org/" + row["image"]
    write_rows(tmp_path / "urls.jsonl", [*rows, rows[0] | {"image": "https://example.org/gone.png"}])
    raw = {"path": "urls.jsonl", "format": "llava", "category": "general"}
    source = Source(config(**raw, store={"path": "images", "key": "name"}), tmp_path)
    assert source.sample(1).images[0].media.path == f"{tmp_path}/images/seen1.png"
    assert pickle.loads(pickle.dumps(source)).sample(0).images[0].media.path.endswith("seen0.png")
    with pytest.raises(SkipSample, match=r"urls\.jsonl:3: .*gone\.png' is a network address.*not in the store"):
        source.sample(2)
    write_tar(tmp_path / "p0.tar", [("seen0.png", (tmp_path / "images/seen0.png").read_bytes())])
    write_tar(tmp_path / "p1.tar", [("seen1.png", (tmp_path / "images/seen1.png").read_bytes())])
    tars = Source(config(**raw, store={"path": "p?.tar", "key": "name"}), tmp_path)
    costs, skips = tars.scan(small_processor())
    assert (costs[:2, 1] > 0).all() and [skip.row for skip in skips] == [2]
    absent = config(**raw, store={"path": "none", "key": "name"})
    with pytest.raises(ConfigError, match=r"source 'set': store: no such folder or tar file: .*none"):
        open_sources([absent], tmp_path)
    with pytest.raises(ConfigError, match=r"store\.key"):
        config(**raw, store={"path": "images", "key": "crc"})


def test_many_processes_count_samples_as_one_does(tmp_path: Path, monkeypatch):
    write_rows(tmp_path / "a.jsonl", [{"text": f"t{k}"} for k in range(45)])
    source = Source(config(path="a.jsonl"), tmp_path)
    alone = costs_module.samples_per_row(source, 45)
    monkeypatch.setattr(costs_module, "POOL_FROM", 20)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    together = costs_module.samples_per_row(source, 45)
    assert np.array_equal(alone[0], together[0]) and together[0].tolist() == [1] * 45
