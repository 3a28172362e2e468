"""What benchmarks share: items from rows, boxes in answers, constants, summaries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mm15.base.errors import DataError
from mm15.base.types import Box, ImagePart, RegionPart
from mm15.evals.benchmark import find
from mm15.evals.items import Item, check_item, common_answers, common_boxes, prompt_text, written
from mm15.evals.results import reported
from mm15.evals.table import Score


def test_unreadable_boxes_are_misses_and_counted():
    benchmark = find("mini-ground")
    item = check_item(Box(80, 120, 400, 360))
    assert benchmark.score("the dog [100, 200", item) == {"acc_iou50": 0.0, "unparseable": 1.0}
    assert benchmark.score("[999, 999, 0, 0]", item) == {"acc_iou50": 0.0, "unparseable": 1.0}
    assert benchmark.score("[10, 10]", item) == {"acc_iou50": 0.0, "unparseable": 1.0}, "a point is not a box"
    assert benchmark.score("[0, 0, 9, 9]", item) == {"acc_iou50": 0.0, "unparseable": 0.0}


def row(*turns: str, **fields) -> dict:
    names = ["human", "gpt"] * len(turns)
    said = [{"from": name, "value": turn} for name, turn in zip(names, turns, strict=False)]
    return {"image": "a.png", "width": 40, "height": 24, "conversations": said, "task": "color", **fields}


def read_items(name: str, folder: Path) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(folder))


def write(folder, name: str, rows: list[dict]) -> None:
    (folder / name).write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")


def test_items_end_with_the_question_and_keep_the_answer_apart(tmp_path):
    write(
        tmp_path, "general.jsonl", [row("<image>\nWhat color?", " red "), row("<image>\nHow many?", "2", task="count")]
    )
    first, second = read_items("mini-vqa", tmp_path)
    assert first.references == ("red",)
    assert (first.task, second.task) == ("color", "count")
    assert prompt_text(first.sample) == "<image>\nWhat color?"
    assert (first.key, second.key) == ("mini-vqa/1", "mini-vqa/2")
    assert first.size == (40, 24)
    assert len(read_items("mini-vqa", tmp_path)[:1]) == 1


def test_a_row_of_several_answers_gives_questions_that_show_none_of_them(tmp_path):
    write(tmp_path, "general.jsonl", [row("<image>\nWhat color?", "red", "And how many?", "two")])
    first, second = read_items("mini-vqa", tmp_path)
    assert (first.key, second.key) == ("mini-vqa/1.0", "mini-vqa/1.1")
    assert prompt_text(second.sample) == "<image>And how many?"
    assert second.references == ("two",)
    assert isinstance(second.sample.messages[0].parts[0], ImagePart)


def test_grounding_items_have_boxes_and_referring_items_ask_with_them(tmp_path):
    asked = row("<image>\nWhere is the dog?", "dog <bbox_location0>", box_x1y1x2y2=[[], [[4, 6, 20, 18]]])
    named = row("<image>\nWhat is <bbox_location0>?", "dog", box_x1y1x2y2=[[[4, 6, 20, 18]], []], point_share=0)
    write(tmp_path, "ground.jsonl", [asked])
    write(tmp_path, "refer.jsonl", [named])
    (ground,), (refer,) = read_items("mini-ground", tmp_path), read_items("mini-refer", tmp_path)
    assert ground.references == (Box(4, 6, 20, 18),)
    assert written(ground.references[0], ground) == "[100, 250, 500, 750]"
    assert refer.references == ("dog",)
    assert any(isinstance(part, RegionPart) for part in refer.sample.messages[0].parts)
    assert prompt_text(refer.sample) == "<image>\nWhat is [100, 250, 500, 750]?"


def test_unusable_rows_are_all_named(tmp_path):
    bad = [row("<image>\nQ", "A"), row("Q without its picture", "A"), {"conversations": []}]
    write(tmp_path, "general.jsonl", bad)
    with pytest.raises(DataError, match=r"general\.jsonl:2: 0 <image>[^\n]*\n.*general\.jsonl:3: "):
        read_items("mini-vqa", tmp_path)
    write(tmp_path, "ground.jsonl", [row("<image>\nWhere?", "nowhere")])
    with pytest.raises(DataError, match="the right answer holds no box"):
        read_items("mini-ground", tmp_path)
    write(tmp_path, "words.jsonl", [])
    with pytest.raises(DataError, match="the file is empty"):
        read_items("mini-words", tmp_path)


def test_constants_are_the_common_answers():
    items = [check_item(reference) for reference in ("red", "blue", "red")]
    assert common_answers(items) == ["red", "blue"]
    boxes = common_boxes([check_item(Box(0, 0, 80, 60)), check_item(Box(160, 120, 400, 300))])
    assert boxes[0] == "[100, 100, 300, 300]", "the mean box"
    assert "[1, 1, 999, 999]" in boxes, "the whole picture"
    assert "[200, 200, 500, 500]" in boxes


def summarise(values: list[float]) -> Score:
    items = [replace(check_item("x"), sample=replace(check_item("x").sample, key=f"k/{n}")) for n in range(len(values))]
    return reported(find("mini-vqa"), [{"exact_match": value} for value in values], items)[0]


def test_summary_of_values():
    score = summarise([1.0, 0.0, 1.0, 1.0])
    assert (score.value, score.n) == (75.0, 4)
    assert score.stderr == pytest.approx(21.65, abs=1.5), "the bootstrap's is that of the plain variance, n below"
    assert 0 <= score.low <= 50 < 75 <= score.high <= 100
    assert score == summarise([1.0, 0.0, 1.0, 1.0]), "the interval is seeded"
    certain = summarise([1.0] * 5)
    assert (certain.low, certain.high, certain.stderr) == (100.0, 100.0, 0.0)
    wide, narrow = (summarise([0.0, 1.0] * n) for n in (10, 1000))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5
    assert summarise([1.0]).stderr == 0.0
