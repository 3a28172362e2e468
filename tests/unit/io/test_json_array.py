"""Rows of one JSON document by number, found by a pass over strings and brackets only."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.rng import python_rng
from mm15.io.json_array import JsonArray


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def random_value(rng, depth: int):
    kind = rng.randrange(7 if depth else 4)
    if kind == 0:
        return "".join(rng.choice('ab[]{},:"\\\n日\u2028') for _ in range(rng.randrange(9)))
    if kind < 4:
        return rng.choice([None, True, -1.5e3, 0, "", "\\"])
    if kind < 6:
        return {f"k{random_value(rng, 0)}": random_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]


@pytest.mark.parametrize("style", [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_rows_are_what_json_says_whatever_stands_in_the_strings(tmp_path: Path, style: dict):
    rng = python_rng(0, "json")
    rows = [{"v": random_value(rng, 3), "k": k} for k in range(200)]
    found = JsonArray(write(tmp_path / "a.json", json.dumps(rows, **style)))
    assert len(found) == 200
    assert [found.row(k) for k in range(199, -1, -1)] == rows[::-1]
    assert found.address(3) == f"{tmp_path}/a.json:[3]"
    document = {"info": {"arrays": [[1], {"x": [2]}]}, "rows": rows, "count": 200}
    found = JsonArray(write(tmp_path / "b.json", json.dumps(document, **style)))
    assert [found.row(k) for k in range(len(found))] == rows
    assert found.address(3) == f"{tmp_path}/b.json:rows[3]"


def test_arrays_of_an_object_by_the_name_of_their_field(tmp_path: Path):
    coco = {"images": [{"id": 1}], "info": {}, "annotations": [{"id": 2, "bbox": [1, 2]}, {"id": 3}], "none": []}
    path = write(tmp_path / "coco.json", json.dumps(coco))
    images, annotations = JsonArray(path, "images"), JsonArray(path, "annotations")
    assert [images.row(0)] == coco["images"] and [annotations.row(k) for k in range(2)] == coco["annotations"]
    assert annotations.address(1) == f"{path}:annotations[1]" and len(JsonArray(path, "none")) == 0
    assert pickle.loads(pickle.dumps(annotations)).row(1) == {"id": 3} and len(pickle.dumps(annotations)) < 300
    with pytest.raises(ConfigError, match="found an object with the arrays images, annotations, none"):
        JsonArray(path)
    with pytest.raises(ConfigError, match="one array of rows"):
        JsonArray(path, "info")


def test_rows_that_are_no_objects_are_named(tmp_path: Path):
    found = JsonArray(write(tmp_path / "a.json", '\ufeff [{"a": 1}, 5, [6], {"b": nope}, "x,y", {"c": 2},]'))
    assert found.row(0) == {"a": 1} and found.row(5) == {"c": 2} and len(found) == 7
    for row, reason in [(1, "found int"), (2, "found list"), (3, "not valid JSON"), (4, "found str"), (6, "not valid")]:
        with pytest.raises(SkipSample, match=rf"a\.json:\[{row}\]: .*{reason}"):
            found.row(row)
    for row in (7, -1):
        with pytest.raises(IndexError, match=f"7 rows, there is no row {row}"):
            found.row(row)


@pytest.mark.parametrize("text", ["[]", " [ \n ]", '{"data": []}'])
def test_an_empty_array_has_no_rows(tmp_path: Path, text: str):
    assert len(JsonArray(write(tmp_path / "a.json", text))) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("3", "expected an array of rows, found b'3'"),
        ("<html>", "expected an array of rows, found b'<html>'"),
        ("{}", "an object with no array"),
        ('{"a": {"b": []}}', "an object with no array"),
        ('[{"a": 1}, {"b"', "cut off"),
        ('[{"a": 1}, {"b": "c', "cut off"),
        ("[" * 99_999, "cut off"),
        ("[1]]", "brackets do not match"),
    ],
)
def test_what_holds_no_rows_is_refused(tmp_path: Path, text: str, reason: str):
    with pytest.raises(ConfigError, match=rf"a\.json: .*{reason}"):
        JsonArray(write(tmp_path / "a.json", text))


def test_the_index_is_made_once_and_follows_the_file(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "a.json", '[{"a": 1}, {"a": 2}]')
    JsonArray(path)
    with monkeypatch.context() as patch:
        patch.setattr(JsonArray, "_scan", lambda *_: pytest.fail("the file was read again"))
        assert JsonArray(path).row(1) == {"a": 2}
    assert JsonArray(write(path, '[{"a": 3}]')).row(0) == {"a": 3}
    with pytest.raises(FileNotFoundError):
        JsonArray(tmp_path / "none.json")
