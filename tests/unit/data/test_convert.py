"""``mm15 data convert``: samples come back equal with the bytes of their media; shards are the same whoever works."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_fixture import write_rows, write_tar
from format_fixture import pdf, picture, tiff, write_parquet
from mm15.base.config import validate
from mm15.base.errors import ConfigError, SkipBudgetExceeded, SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    Point,
    RegionPart,
    Role,
    Sample,
    TextPart,
    VideoPart,
)
from mm15.cli import app
from mm15.data import convert as convert_module
from mm15.data.check import check
from mm15.data.convert import convert
from mm15.data.open import open_path
from mm15.data.source import Source, SourceConfig
from mm15.datasets._canonical import sample_from_json, sample_to_json
from mm15.dist.map import Engine
from mm15.io.media import read_bytes

HERE = Engine(workers=1)


def source(folder: Path, path: str, format: str, category: str = "general", **more: Any) -> Source:
    told = {"name": "set", "path": path, "format": format, "category": category} | more
    return Source(validate(SourceConfig, told), folder)


def without_places(part: Part) -> Part:
    """A part with the digest of its medium in place of its address."""
    if not isinstance(part, ImagePart | VideoPart):
        return part
    media = part.media
    digest = hashlib.sha256(read_bytes(media)).hexdigest()
    return replace(part, media=MediaRef(path=digest, frame=media.frame, dpi=media.dpi))


def told(found: Source) -> list[Sample]:
    """All samples, media by their content."""
    return [
        replace(
            sample,
            messages=tuple(
                replace(message, parts=tuple(map(without_places, message.parts))) for message in sample.messages
            ),
        )
        for sample in (found.sample(row) for row in range(len(found)))
    ]


def turns(*said: str) -> list[dict[str, str]]:
    return [{"from": "human" if k % 2 == 0 else "gpt", "value": text} for k, text in enumerate(said)]


def _llava(folder: Path) -> Source:
    (folder / "a.png").write_bytes(picture(30, 20))
    (folder / "b.jpg").write_bytes(picture(21, 40, form="JPEG"))
    rows = [
        {"id": 1, "image": "a.png", "width": 30, "height": 20, "conversations": turns("<image>\nWhat?", "A ü dog.")},
        {"id": [2, {"$odd": 1}], "image": ["b.jpg", "a.png", "b.jpg"], "conversations": turns("<image>" * 3, "yes")},
        {"score": 0.1, "nothing": None, "conversations": turns("two?", "2", "three?", "3")},
    ]
    write_rows(folder / "a.jsonl", rows)
    return source(folder, "a.jsonl", "llava")


def _boxes(folder: Path) -> Source:
    (folder / "a.png").write_bytes(picture(90, 60))
    row = {"image": "a.png", "image_w": 90, "image_h": 60, "box_x1y1x2y2": [[[4, 5.25, 69, 53]], []]}
    write_rows(
        folder / "a.jsonl",
        [row | {"point_share": share, "conversations": turns("<image>\n<bbox_location0>?", "cup")} for share in (0, 1)],
    )
    return source(folder, "a.jsonl", "ferret-json", "refer_ground")


def _pdf_pages(folder: Path) -> Source:
    page = {"lines": {"text": ["Hello"], "bbox": [[0.1, 0.1, 0.5, 0.1]]}}
    empty = {"lines": {"text": [], "bbox": []}}
    members = [("0.json", json.dumps({"pages": [page, empty, page]}).encode()), ("0.pdf", pdf("one", "two", "three"))]
    record = json.dumps({"pages": [{"text": ["a"], "bbox": [[0, 0, 1, 1]]}] * 2}).encode()
    members += [("1.json", record), ("1.tif", tiff((30, 20), (50, 40)))]
    write_tar(folder / "a.tar", members)
    return source(folder, "a.tar", "ocr-wds", "ocr", options={"boxes": True})


def _pairs(folder: Path) -> Source:
    members = [("x/0.webp", picture(form="WEBP")), ("x/0.txt", b"one"), ("1.jpg", picture()), ("1.txt", b"two")]
    write_tar(folder / "a.tar", members)
    return source(folder, "a.tar", "wds-pairs", "caption")


def _cauldron(folder: Path) -> Source:
    pair = {"user": "What?", "assistant": "A cup.", "source": "x"}
    images = [{"bytes": picture(33, 44), "path": None}, {"bytes": picture(21, 10, form="GIF"), "path": "b.gif"}]
    write_parquet(folder / "a.parquet", [{"images": images, "texts": [pair, pair]}] * 3)
    return source(folder, "a.parquet", "cauldron", "multi_image")


def _clips(folder: Path) -> Source:
    (folder / "a.mp4").write_bytes(b"\0\0\0 ftypisom and so on")
    row = {"video": "a.mp4", "QA": [{"i": "", "q": "What?", "a": "A cup."}], "start": 0.5, "end": 3}
    (folder / "a.json").write_text(json.dumps([row]))
    return source(folder, "a.json", "video-qa", "video")


MAKERS = [_llava, _boxes, _pdf_pages, _pairs, _cauldron, _clips]


@pytest.mark.parametrize("make", MAKERS)
def test_samples_come_back_equal_with_the_bytes_of_their_media(tmp_path: Path, make: Any):
    (tmp_path / "in").mkdir()
    original = make(tmp_path / "in")
    (done,) = convert([original], tmp_path / "out", shard_rows=2, engine=HERE)
    (again,) = open_path(tmp_path / "out").sources
    assert told(again) == told(original) and len(again) == done.samples >= 1
    assert done.faults == [] and done.rows == len(original.rows)
    assert check([again], engine=HERE).faults == [] or make is _clips
    assert told(pickle.loads(pickle.dumps(again))) == told(original)


def test_a_medium_that_samples_of_a_row_share_is_written_once(tmp_path: Path):
    convert([_pdf_pages(tmp_path)], tmp_path / "out", engine=HERE)
    with tarfile.open(tmp_path / "out/set/000000.tar") as tar:
        assert tar.getnames() == ["000000000.0.pdf", "000000000.json", "000000001.0.tif", "000000001.json"]
    index = json.loads((tmp_path / "out/set/index.json").read_text())
    assert (index["rows"], index["samples"]) == (2, 4) and index["shards"][0]["samples_per_row"] == [2, 2]
    (again,) = open_path(tmp_path / "out").sources
    assert len(again) == 4 and not list((tmp_path / "out/set").glob("*.many.npz")), "the index spares the count"
    (tmp_path / "out/set/index.json").unlink()
    (without,) = open_path(tmp_path / "out").sources
    assert len(without) == 4 and told(without) == told(again)


def test_a_folder_of_frames_becomes_one_member(tmp_path: Path):
    (tmp_path / "clip").mkdir()
    for frame in range(2):
        (tmp_path / f"clip/{frame}.jpg").write_bytes(picture(30, 20, form="JPEG"))
    row = {"video": "clip", "conversations": turns("<video>\nWhat?", "A cup.")}
    write_rows(tmp_path / "a.jsonl", [row])
    convert([source(tmp_path, "a.jsonl", "llava", "video")], tmp_path / "out", engine=HERE)
    (again,) = open_path(tmp_path / "out").sources
    part = again.sample(0).messages[0].parts[0]
    assert isinstance(part, VideoPart) and part.media.member.endswith(".0.frames.tar") and part.frames == 24
    (tmp_path / "frames.tar").write_bytes(read_bytes(part.media))
    with tarfile.open(tmp_path / "frames.tar") as tar:
        assert tar.getnames() == ["0.jpg", "1.jpg"]
    assert check([again], engine=HERE).faults == []


def contents(folder: Path) -> dict[str, bytes]:
    """What a folder of shards holds, but for what belongs to one place and time."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".tar", ".json", ".yaml")
    }


def _texts(folder: Path, count: int = 25, bad: tuple[int, ...] = ()) -> Source:
    write_rows(folder / "t.jsonl", ({"text": "" if row in bad else f"row {row}"} for row in range(count)))
    return source(folder, "t.jsonl", "text", "text_only")


@pytest.mark.parametrize("kind", ["pool", "ray"])
def test_the_bytes_are_the_same_whoever_works(tmp_path: Path, kind: str, request: pytest.FixtureRequest):
    engine = request.getfixturevalue("ray") if kind == "ray" else Engine(workers=2)
    (tmp_path / "in").mkdir()
    sources = [_texts(tmp_path / "in", bad=(3,)), replaced(_llava(tmp_path / "in"), "other")]
    for name, one in (("here", HERE), ("there", engine)):
        convert(sources, tmp_path / name, shard_rows=10, max_bad=0.1, engine=one)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert [name for name in contents(tmp_path / "here") if name.endswith(".tar")] == [
        "other/000000.tar",
        "set/000000.tar",
        "set/000001.tar",
        "set/000002.tar",
    ]


def replaced(found: Source, name: str) -> Source:
    return Source(found.config.model_copy(update={"name": name}), found.data)


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = _texts(tmp_path)
    convert([rows], tmp_path / "straight", shard_rows=10, engine=HERE)
    real = convert_module._write_shard

    def interrupted(sources: Any, task: Any) -> Any:
        if task.number == 1:
            raise KeyboardInterrupt
        return real(sources, task)

    monkeypatch.setattr(convert_module, "_write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert([rows], tmp_path / "out", shard_rows=10, engine=HERE)
    monkeypatch.undo()
    first = tmp_path / "out/set/000000.tar"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "out/sources.yaml").exists()
    seen: list[tuple[int, int]] = []
    (done,) = convert(
        [rows], tmp_path / "out", shard_rows=10, engine=HERE, progress=lambda done, total: seen.append((done, total))
    )
    assert (done.kept, done.shards) == (1, 3) and first.stat().st_mtime_ns == before
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    # A shard that was cut off since is made again.
    first.write_bytes(first.read_bytes()[:-1])
    assert convert([rows], tmp_path / "out", shard_rows=10, engine=HERE)[0].kept == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_shards_of_something_else_are_not_mixed_up(tmp_path: Path):
    rows = _texts(tmp_path)
    convert([rows], tmp_path / "out", shard_rows=10, engine=HERE)
    with pytest.raises(ConfigError, match="shards of other files, options or shard size"):
        convert([rows], tmp_path / "out", shard_rows=20, engine=HERE)
    write_rows(tmp_path / "t.jsonl", [{"text": "new"}])
    with pytest.raises(ConfigError, match="shards of other files"):
        convert([source(tmp_path, "t.jsonl", "text", "text_only")], tmp_path / "out", shard_rows=10, engine=HERE)
    (tmp_path / "mine/set").mkdir(parents=True)
    write_tar(tmp_path / "mine/set/a.tar", [("0.txt", b"x")])
    with pytest.raises(ConfigError, match=r"a\.tar is no shard of ours"):
        convert([rows], tmp_path / "mine", engine=HERE)
    with pytest.raises(ConfigError, match="at least one row"):
        convert([rows], tmp_path / "new", shard_rows=0, engine=HERE)


def test_rows_that_cannot_be_used_are_left_out_and_named(tmp_path: Path):
    rows = _texts(tmp_path, bad=(3, 17))
    with pytest.raises(SkipBudgetExceeded, match=r"(?s)1 of 25 rows cannot be used.*t\.jsonl:4: 'text'"):
        convert([rows], tmp_path / "out", shard_rows=10, engine=HERE)
    (done,) = convert([rows], tmp_path / "out", shard_rows=10, max_bad=0.1, engine=HERE)
    assert [fault.address for fault in done.faults] == [f"{tmp_path}/t.jsonl:{line}" for line in (4, 18)]
    assert (done.samples, done.kept) == (23, 1)
    (again,) = open_path(tmp_path / "out").sources
    wanted = [row for row in range(25) if row not in (3, 17)]
    assert [again.sample(k).key for k in range(23)] == [f"set/{row}" for row in wanted]
    (tmp_path / "gone.jsonl").write_text(json.dumps({"image": "gone.png", "conversations": turns("<image>", "x")}))
    (done,) = convert([source(tmp_path, "gone.jsonl", "llava")], tmp_path / "gone", max_bad=1, engine=HERE)
    assert done.samples == 0 and "gone.png" in done.faults[0].reason


def test_every_part_and_every_value_comes_back():
    ref = MediaRef("a.tif", frame=3)
    meta = {
        "plain": [1, 2.5, None, True, "ü", {"a": {"b": []}}],
        "tuple": (1, (2,)),
        "bytes": b"\0\xff",
        "float": [math.inf, -math.inf, 1e-300],
        "keys": {1: "one", (2, "x"): "two"},
        "looks like one": {"$tuple": [1]},
        "times": [
            datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.UTC),
            datetime.date(2024, 2, 29),
            datetime.time(1, 2),
            datetime.timedelta(days=-3, microseconds=7),
        ],
        "money": decimal.Decimal("12.50"),
    }
    parts = (TextPart("x"), RegionPart(Box(0.1, 2, 3.75, 4, 1)), RegionPart(Point(1, 2.5)), ImagePart(ref, 3, 4))
    clip = VideoPart(MediaRef("a.mp4"), 8, 0.5, 3)
    messages = (Message(Role.USER, (clip, *parts)), Message(Role.ASSISTANT, (TextPart("y"),), trained=True))
    sample = Sample("set/0", "set", Category.UI, messages, meta)
    written = json.loads(json.dumps(sample_to_json(sample, lambda media: media.path), allow_nan=False))
    assert sample_from_json(written, MediaRef, "set", Category.UI, "other") == sample
    nan = sample_to_json(replace(sample, meta={"nan": math.nan}), str)["meta"]
    assert nan == {"nan": {"$float": "nan"}}
    with pytest.raises(SkipSample, match=r"'deep\.1' holds a complex, which cannot be written"):
        sample_to_json(replace(sample, meta={"deep": [0, 1j]}), str)


@pytest.mark.parametrize(
    ("json_member", "reason"),
    [
        (b"{}", "no list 'samples'"),
        (b'{"samples": []}', "no list 'samples'"),
        (b'{"samples": [{"messages": [{"role": "cat", "trained": true, "parts": []}]}]}', "not that of a sample"),
        (b'{"samples": [{"messages": [{"role": "user", "trained": true, "parts": [{"box": [1]}]}]}]}', "not that of"),
        (
            b'{"samples": [{"messages": [{"role": "user", "trained": true, "parts": [{"image": "0.jpg", "width": 1, '
            b'"height": 1}]}]}]}',
            r"no member '0\.jpg'; members: json",
        ),
    ],
)
def test_shards_that_were_damaged_are_refused(tmp_path: Path, json_member: bytes, reason: str):
    write_tar(tmp_path / "0.tar", [("0.json", json_member)])
    with pytest.raises(SkipSample, match=reason):
        source(tmp_path, "0.tar", "mm15-wds").sample(0)


def test_the_verb(tmp_path: Path):
    rows = _texts(tmp_path, bad=(3,))
    told = ["data", "convert", str(rows.path), "--format", "text", "--category", "text_only", "--workers", "1"]
    result = CliRunner().invoke(app, [*told, "--out", str(tmp_path / "out"), "--shard-rows", "10", "--max-bad", "0.1"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("t: 25 rows → 24 samples in 3 shards (0 were there)") and "t.jsonl:4: 'text'" in lines[1]
    result = CliRunner().invoke(
        app, [*told, "--out", str(tmp_path / "out"), "--shard-rows", "10", "--max-bad", "0.1", "--json"]
    )
    found = json.loads(result.stdout)
    assert found["sources"][0]["kept"] == 3 and found["sources"][0]["faults"][0]["kind"] == "says nothing"
