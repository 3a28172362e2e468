"""What all document builders owe: same seed same bytes, true sizes, prompts that tell tasks apart."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mm15.build import charts, code, math_items, pages, text_only, words
from mm15.build._items import Form
from mm15.build.materials import Materials

BUILDERS = {
    "words": (words, {}),
    "words-ocr": (words, {"form": Form.OCR}),
    "pages": (pages, {}),
    "pages-ocr": (pages, {"form": Form.OCR}),
    "charts": (charts, {}),
    "math": (math_items, {}),
    "code": (code, {}),
    "text-only": (text_only, {}),
}
MATERIALS = Materials()


def build(name, out, n=24, split="train", seed=3, workers=1):
    builder, options = BUILDERS[name]
    reports = builder.build(out, split, n, seed, MATERIALS, workers=workers, **options)
    assert all(report.rows == n for report in reports)
    return {report.name: read(out / f"{report.name}.jsonl") for report in reports}


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def turn(row: dict) -> tuple[str, str]:
    """Question without the picture's mark, and answer."""
    if "messages" in row:
        asked, answered = row["messages"]
        return asked["content"].removeprefix("<|image|>"), answered["content"]
    asked, answered = row["conversations"]
    return asked["value"].removeprefix("<image>\n"), answered["value"]


@pytest.mark.parametrize("name", BUILDERS)
def test_same_seed_same_bytes_and_a_row_does_not_depend_on_how_many_there_are(name, tmp_path):
    first, shorter, other = (
        build(name, tmp_path / "a"),
        build(name, tmp_path / "b", n=9),
        build(name, tmp_path / "c", seed=4),
    )
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    for file, data in b.items():
        assert a[file].startswith(data) if file.endswith(".jsonl") else a[file] == data
    for file, rows in first.items():
        assert rows[:9] == shorter[file]
        assert rows != other[file]


def test_two_processes_write_the_same_bytes(tmp_path):
    build("words", tmp_path / "one", n=100)
    build("words", tmp_path / "two", n=100, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "text-only"])
def test_rows_describe_their_pictures(name, split, tmp_path):
    for file, rows in build(name, tmp_path, n=36, split=split).items():
        names = [row["image"][0] if isinstance(row["image"], list) else row["image"] for row in rows]
        assert len(set(names)) == len(rows)
        for row, picture in zip(rows, names, strict=True):
            with Image.open(tmp_path / picture) as image:
                assert image.mode == "RGB"
                assert (row["width"], row["height"]) == image.size
            assert max(row["width"], row["height"]) <= 192
            assert ("task_name" in row) == file.endswith("-ocr")
            for char, x1, y1, x2, y2 in row.get("chars", []):
                assert len(char) == 1 and not char.isspace()
                assert -1 <= x1 < x2 <= row["width"] + 1
                assert -1 <= y1 < y2 <= row["height"] + 1


def test_prompts_are_short_and_tell_the_tasks_apart(tmp_path):
    tasks_of: dict[str, set[str]] = {}
    for name in BUILDERS:
        for file, rows in build(name, tmp_path / name, n=48).items():
            for row in rows if file != "text" else []:
                question, answer = turn(row)
                assert len(question) <= 40 or "<bbox>" in question
                assert answer and answer == answer.strip()
                tasks_of.setdefault(question, set()).add(row.get("task") or row["task_name"])
    shared = {frozenset(tasks) for tasks in tasks_of.values() if len(tasks) > 1}
    # A word is a word, wherever it was cut out, and a text a text.
    assert shared <= {frozenset({"word", "page_word"}), frozenset({"block", "kv_text"})}


def test_the_two_forms_show_different_pictures(tmp_path):
    build("words", tmp_path, n=12)
    build("words-ocr", tmp_path, n=12)
    pictures = [path.read_bytes() for path in (tmp_path / "images").rglob("*.png")]
    assert len(set(pictures)) == 24


def test_held_out_files_are_named_after_their_benchmarks(tmp_path):
    for name in ("words", "pages", "charts", "math"):
        build(name, tmp_path, n=3, split="heldout")
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == {"words", "pages", "kv", "charts", "math"}
