"""What Ferret's files hold beyond one box per phrase: points, masks, several boxes, another canvas, questions only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import SkipSample
from mm15.base.types import Box, Category, Point, Role, Sample
from mm15.datasets import ferret_json
from mm15.datasets._context import RowContext
from mm15.datasets._rle import run_lengths
from rows_fixture import regions, save_picture


def read(row: dict[str, Any], root: str = "/data", key: str = "ui/0", **options: Any) -> Sample:
    context = RowContext("ui", Category.UI, key, root, ferret_json.Options(**options))
    (sample,) = ferret_json.to_samples(row, context)
    return sample


def row(question: str, answer: str | None, boxes: list[Any], **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\n" + question}]
    turns += [{"from": "gpt", "value": answer}] if answer is not None else []
    return {"id": 0, "image": "x.jpg", "image_h": 60, "image_w": 90, "conversations": turns} | {
        "box_x1y1x2y2": boxes,
        **more,
    }


def test_a_phrase_may_have_several_boxes():
    sample = read(row("Find dogs.", "dogs <bbox_location0>.", [[], [[[1, 2, 3, 4], [5, 6, 7, 8]]]]))
    assert sample.messages[1].text == "dogs , ." and regions(sample, 1) == [Box(1, 2, 3, 4), Box(5, 6, 7, 8)]


def test_a_pair_of_numbers_is_a_point_in_question_and_answer():
    sample = read(row("What is at <bbox_location0>?", "Tap <bbox_location0>", [[[10, 59.5]], [[90, 0]]]))
    assert regions(sample) == [Point(10, 59.5), Point(90, 0)]


def test_numbers_on_another_canvas_are_stretched_to_the_picture():
    sample = read(row("Q", "A <bbox_location0>", [[], [[0, 500, 1000, 1000]]]), canvas=(1000, 1000))
    assert regions(sample) == [Box(0, 30, 90, 60)]
    tall = row("Q", "A <bbox_location0> <bbox_location1>", [[], [[144, 256, 720, 1280], [1440, 2560]]])
    sample = read(tall | {"image_w": 540, "image_h": 960}, canvas=(1440, 2560))
    assert regions(sample) == [Box(54, 96, 270, 480), Point(540, 960)]


def test_boxes_that_leave_the_picture_are_cut_where_the_recipe_says_so():
    leaving = row("Q", "A <bbox_location0>", [[], [[-3, 50, 95, 70]]])
    assert regions(read(leaving, outside="clip")) == [Box(0, 50, 90, 60)]
    with pytest.raises(SkipSample, match="outside the picture of 90 x 60"):
        read(leaving)
    with pytest.raises(SkipSample, match="outside the picture"):
        read(row("Q", "A <bbox_location0>", [[], [[95, 1, 99, 5]]]), outside="clip")


def test_evaluation_files_end_with_a_question():
    asked = row("What is <bbox_location0>?", None, [[[1, 2, 30, 40]]], label="Button")
    sample = read(asked, questions=True, point_share=0)
    assert [message.role for message in sample.messages] == [Role.USER]
    assert regions(sample) == [Box(1, 2, 30, 40)] and sample.meta["label"] == "Button"
    with pytest.raises(SkipSample, match="end with an answer"):
        read(asked)
    with pytest.raises(SkipSample, match="says nothing"):
        read({"conversations": [{"from": "human", "value": " "}]}, questions=True)


def test_boxes_and_points_turn_with_an_exif_orientation(tmp_path: Path):
    save_picture(tmp_path / "x.jpg", orientation=6)
    turned = row("Q", "A <bbox_location0> <bbox_location1>", [[], [[0, 0, 30, 20], [0, 60]]])
    sample = read(turned, str(tmp_path))
    assert regions(sample) == [Box(40, 0, 60, 30), Point(0, 0)]
    assert (sample.images[0].width, sample.images[0].height) == (60, 90)


def test_a_points_mask_is_where_it_may_lie():
    # Two pixels of the column x = 7: rows 3 and 4.
    before = 7 * 60 + 3
    mask = {"size": [60, 90], "counts": [before, 2, 90 * 60 - before - 2]}
    pointed = row("What is <bbox_location0>?", "A dog.", [[[1, 2, 80, 50]], []], masks=[[mask], []])
    found = {regions(read(pointed, key=f"ui/{k}", point_share=1))[0] for k in range(40)}
    assert found == {Point(7.5, 3.5), Point(7.5, 4.5)}
    assert regions(read(pointed, point_share=0)) == [Box(1, 2, 80, 50)]


def test_compressed_masks_are_read_as_coco_writes_them():
    # pycocotools 2.0 on a mask of 60 x 90: rows 10-39, columns 20-31, a hole in it, and rows 45-58, columns 2-4.
    runs = run_lengths("U5>^1000Qk0`0_TO00000000WOWO?i0AWO?i0:00000000^\\3")
    assert runs == [165, 14, 46, 14, 46, 14, 911, *[30] * 10, 5, 5, 20, 30, 5, 5, 20, *[30] * 10, 3500]
    assert (sum(runs), sum(runs[1::2])) == (60 * 90, 392)
    assert run_lengths([5, 3, 4]) == [5, 3, 4]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ({"size": [90, 60], "counts": [5400]}, "'size' [60, 90]"),
        ({"size": [60, 90], "counts": [5400]}, "without a pixel"),
        ({"size": [60, 90], "counts": [10, 5]}, "a mask of 15 pixels for a picture of 90 x 60"),
        ({"size": [60, 90], "counts": [-1, 5401]}, "whole numbers from 0"),
        ({"size": [60, 90], "counts": "o"}, "cut off"),
        ({"size": [60, 90], "counts": "@"}, "cut off or damaged"),
        ({"size": [60, 90], "counts": "é"}, "cannot be part"),
        ({"size": [60, 90], "counts": 3}, "a list or a text"),
        ("mask", "needs 'counts'"),
    ],
)
def test_broken_masks_are_refused(mask: Any, reason: str):
    pointed = row("What is <bbox_location0>?", "A dog.", [[[1, 2, 80, 50]], []], masks=[[mask], []])
    with pytest.raises(SkipSample, match=re.escape(reason)):
        read(pointed, point_share=1)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (row("<bbox_location0>?", "A", [[["1", "2", "3", "4"]], []]), "four numbers"),
        (row("<bbox_location0>?", "A", [[[1, 61]], []]), "outside the picture of 90 x 60"),
        (row("<bbox_location0>?", "A", [[[1, 2, 3, 4]], []], masks=[[{}, {}], []]), "2 masks for 1 boxes"),
        (row("<bbox_location0>?", "A", [[[1, 2, 3, 4]], []], masks=[[]]), "for each of the 2 turns"),
        (row("<bbox_location0>?", "A", [[[]], []]), "four numbers"),
    ],
)
def test_broken_regions_are_refused(broken: dict[str, Any], reason: str):
    with pytest.raises(SkipSample, match=re.escape(reason)):
        read(broken)
