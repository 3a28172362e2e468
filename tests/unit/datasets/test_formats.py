"""Every format: rows become the right samples, and what is broken is refused with a reason."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from mm15.base.catalogue import lookup, names
from mm15.base.errors import SkipSample
from mm15.base.types import Box, Category, ImagePart, Point, RegionPart, Role, Sample, TextPart
from mm15.datasets import docowl_jsonl, ferret_json, interleaved, llava, text
from mm15.datasets._context import RowContext

SAMPLE_FORMATS = ["docowl-jsonl", "ferret-json", "interleaved", "llava", "text"]


def context(category: Category = Category.GENERAL, key: str = "set/0") -> RowContext:
    return RowContext("set", category, key, "/data")


def one(samples: list[Sample]) -> Sample:
    assert len(samples) == 1
    return samples[0]


def talk(*values: str, first: str = "human") -> list[dict[str, str]]:
    order = ["human", "gpt"] if first == "human" else ["gpt", "human"]
    return [{"from": order[i % 2], "value": value} for i, value in enumerate(values)]


def test_formats_are_in_the_catalogue_and_helpers_are_not():
    assert set(SAMPLE_FORMATS) <= set(names("mm15.datasets"))
    assert not any("context" in name for name in names("mm15.datasets"))


@pytest.mark.parametrize("name", SAMPLE_FORMATS)
@pytest.mark.parametrize(
    "row", [{}, {"conversations": 3}, {"messages": []}, {"images": [], "texts": []}, {"text": " "}]
)
def test_a_row_with_nothing_in_it_is_refused(name: str, row: dict[str, Any]):
    with pytest.raises(SkipSample):
        lookup("mm15.datasets", name, "format").to_samples(row, context())


# llava


def test_an_image_stays_where_its_placeholder_stands():
    row = {"image": "a.png", "conversations": talk("Look <image> here.", "Yes.")}
    parts = one(llava.to_samples(row, context())).messages[0].parts
    assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart]
    assert parts[0] == TextPart("Look ") and parts[2] == TextPart(" here.")


def test_several_images_fill_their_placeholders_in_order_with_their_sizes():
    row = {"image": ["a.png", "b.png"], "width": [90, 60], "height": [60, 90]}
    row["conversations"] = talk("<image><image>\nSame?", "No.", "Sure?", "Yes.")
    sample = one(llava.to_samples(row, context(Category.MULTI_IMAGE)))
    assert [(i.media.path, i.width, i.height) for i in sample.images] == [
        ("/data/a.png", 90, 60),
        ("/data/b.png", 60, 90),
    ]
    assert [message.role for message in sample.messages] == [Role.USER, Role.ASSISTANT] * 2
    assert [message.trained for message in sample.messages] == [False, True] * 2


def test_other_fields_go_to_meta_and_a_system_turn_is_kept():
    turns = [{"from": "system", "value": "Be short."}, *talk("Hi", "Hello")]
    sample = one(llava.to_samples({"conversations": turns, "id": 7, "answers": ["Hello"]}, context()))
    assert sample.messages[0].role is Role.SYSTEM and not sample.messages[0].trained
    assert sample.meta == {"id": 7, "answers": ["Hello"]}


@pytest.mark.parametrize("turns", [talk("A dog.", first="gpt"), talk("<image>", "A dog."), talk("<image>\n", "A dog.")])
def test_a_caption_is_a_document_picture_first_and_only_text_trained(turns: list[dict[str, str]]):
    sample = one(llava.to_samples({"image": "a.png", "conversations": turns}, context(Category.CAPTION)))
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and message.trained
    assert isinstance(message.parts[0], ImagePart) and message.parts[1] == TextPart("A dog.")


def test_a_caption_that_answers_a_question_stays_a_conversation():
    row = {"image": "a.png", "conversations": talk("<image>\nDescribe.", "A dog.")}
    sample = one(llava.to_samples(row, context(Category.CAPTION)))
    assert [message.role for message in sample.messages] == [Role.USER, Role.ASSISTANT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image": "", "conversations": talk("<image>\nQ", "A")}, "1 <image> placeholders for 0 pictures"),
        ({"image": [], "conversations": talk("<image>\nQ", "A")}, "1 <image> placeholders for 0 pictures"),
        ({"image": None, "conversations": talk("<image>\nQ", "A")}, "1 <image> placeholders for 0 pictures"),
        ({"image": "a.png", "conversations": talk("Q", "A")}, "0 <image> placeholders for 1 pictures"),
        ({"image": ["a.png", "b.png"], "conversations": talk("<image>Q", "A")}, "1 <image> placeholders for 2"),
        ({"image": "a.png", "conversations": talk("Q", "<image>A")}, "a picture inside a turn of the assistant"),
        ({"conversations": talk("Q", "  ")}, "the assistant says nothing"),
        ({"conversations": talk(" ", "A")}, "the user says nothing"),
        ({"conversations": talk("A", "Q", first="gpt")}, "must alternate"),
        ({"conversations": talk("Q", "A", "Q")}, "end with an answer"),
        ({"conversations": [*talk("Q", "A"), {"from": "gpt", "value": "B"}]}, "must alternate"),
        ({"conversations": [{"from": "robot", "value": "Q"}]}, "unknown role 'robot'"),
        ({"conversations": [{"from": "human", "value": 3}]}, "turn 0 needs 'from' and a text 'value'"),
        ({"conversations": talk("A dog.", first="gpt"), "image": "a.png"}, "1 pictures"),
        ({"image": "../a.png", "conversations": talk("<image>Q", "A")}, "stay inside"),
        ({"image": "/etc/passwd", "conversations": talk("<image>Q", "A")}, "relative to the data folder"),
        ({"image": "http://x/a.png", "conversations": talk("<image>Q", "A")}, "network address"),
        ({"image": 5, "conversations": talk("<image>Q", "A")}, "must be a file name or a list"),
        ({"image": [""], "conversations": talk("<image>Q", "A")}, "is not a file name"),
        ({"image": "a.png", "width": 0, "height": 3, "conversations": talk("<image>Q", "A")}, "above 0"),
        ({"image": "a.png", "width": 9.5, "height": 3, "conversations": talk("<image>Q", "A")}, "whole numbers"),
        ({"image": "a.png", "width": 9, "conversations": talk("<image>Q", "A")}, "given together"),
        (
            {"image": "a.png", "width": [9, 9], "height": [3, 3], "conversations": talk("<image>Q", "A")},
            "2 sizes for 1",
        ),
        ({"video": "a.mp4", "conversations": talk("Q", "A")}, "0 <video> or <image> placeholders for 1 clips"),
        ({"video": 4, "conversations": talk("Q", "A")}, "'video' must be a file or folder name"),
        ({"video": "a.mp4", "image": "a.png", "conversations": talk("<image>Q", "A")}, "both 'image' and 'video'"),
    ],
)
def test_llava_refuses_broken_rows_with_a_reason(row: dict[str, Any], reason: str):
    with pytest.raises(SkipSample, match=re.escape(reason)):
        llava.to_samples(row, context())


def test_a_caption_without_words_is_refused():
    with pytest.raises(SkipSample, match="empty caption"):
        llava.to_samples({"image": "a.png", "conversations": talk(" ", first="gpt")}, context(Category.CAPTION))


# ferret-json


def ferret(question: str, answer: str, boxes: list[Any], **more: Any) -> dict[str, Any]:
    row = {"image": "a.png", "image_w": 200, "image_h": 100, "conversations": talk("<image>\n" + question, answer)}
    return row | {"box_x1y1x2y2": boxes} | more


def regions(sample: Sample) -> list[Any]:
    return [part.region for message in sample.messages for part in message.parts if isinstance(part, RegionPart)]


def test_boxes_stand_where_they_are_named():
    row = ferret("Find both.", "dog <bbox_location1>, cat <bbox_location0>.", [[], [[1, 2, 30, 40], [5.5, 6, 70, 80]]])
    answer = one(ferret_json.to_samples(row, context())).messages[1]
    assert answer.parts == (
        TextPart("dog "),
        RegionPart(Box(5.5, 6, 70, 80)),
        TextPart(", cat "),
        RegionPart(Box(1, 2, 30, 40)),
        TextPart("."),
    )


def test_what_the_user_points_at_is_a_point_in_the_stated_share_and_answers_are_boxes():
    box = [40, 20, 120, 60]
    asked, answered = [], []
    for number in range(600):
        row = ferret("What is <bbox_location0>?", "It <bbox_location0>.", [[box], [box]])
        first, second = regions(one(ferret_json.to_samples(row, context(key=f"set/{number}"))))
        asked.append(first)
        answered.append(second)
    points = [region for region in asked if isinstance(region, Point)]
    assert abs(len(points) / 600 - 1 / 3) < 0.08
    assert all(40 <= point.x < 120 and 20 <= point.y < 60 for point in points)
    spread = math.sqrt(sum((point.x - 80) ** 2 for point in points) / len(points))
    assert 0.12 * 80 < spread < 0.18 * 80
    assert answered == [Box(*map(float, box))] * 600


def test_a_region_that_comes_back_is_written_the_same_way():
    question = "Is <bbox_location0> like <bbox_location1>?"
    for number in range(20):
        row = ferret(question, "Yes.", [[[4, 2, 80, 60], [4, 2, 80, 60]], []], point_share=0.5)
        first, second = regions(one(ferret_json.to_samples(row, context(key=f"set/{number}"))))
        assert first == second


def test_the_point_share_of_a_row_is_obeyed():
    for share, kind in ((0, Box), (1, Point)):
        row = ferret("What is <bbox_location0>?", "A dog.", [[[4, 2, 80, 60]], []], point_share=share)
        assert isinstance(regions(one(ferret_json.to_samples(row, context())))[0], kind)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ferret("Q", "A", [[]]), "one list of boxes for each of the 2 turns"),
        (ferret("<bbox_location0>?", "A", [[[30, 2, 10, 40]], []]), "inverted"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 1, 40]], []]), "empty"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 201, 40]], []]), "outside the picture of 200 x 100"),
        (ferret("<bbox_location0>?", "A", [[[-1, 2, 20, 40]], []]), "outside"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 20]], []]), "four numbers"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 20, math.nan]], []]), "outside"),
        (ferret("<bbox_location1>?", "A", [[[1, 2, 20, 40]], []]), "but only 1 boxes"),
        (ferret("Q", "A", [[[1, 2, 20, 40]], []]), "0 are named"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 20, 40]], []], image_w=None, image_h=None), "'image_w'"),
        (ferret("<bbox_location0>?", "A", [[[1, 2, 20, 40]], []], point_share=2), "from 0 to 1"),
    ],
)
def test_ferret_refuses_broken_boxes_with_a_reason(row: dict[str, Any], reason: str):
    with pytest.raises(SkipSample, match=re.escape(reason)):
        ferret_json.to_samples(row, context())


# docowl-jsonl


def docowl(question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"image": ["./imgs/a.png"], "width": 400, "height": 200, "messages": turns} | more


def test_docowl_boxes_become_pixels_and_other_markup_stays():
    row = docowl("<|image|>Read <bbox>0,0,999,999</bbox>.", "<doc> Hello </doc>", task_name="t")
    sample = one(docowl_jsonl.to_samples(row, context()))
    assert regions(sample) == [Box(0, 0, 400, 200)]
    assert sample.messages[1].text == "<doc> Hello </doc>" and sample.meta == {"task_name": "t"}
    assert sample.images[0].media.path == "/data/imgs/a.png"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (docowl("Q", "A"), "0 <|image|> placeholders for 1 pictures"),
        (docowl("<|image|>Q", "<bbox>5,5,5,9</bbox>"), "inverted, empty"),
        (docowl("<|image|>Q", "<bbox>5,5,1000,9</bbox>"), "not four whole numbers from 0 to 999"),
        (docowl("<|image|>Q", "<bbox>5,5,9</bbox>"), "not four whole numbers"),
        (docowl("<|image|>Q", "<bbox>1,2,3,4</bbox>", width=None, height=None), "No such file"),
        (
            docowl("<|image|><|image|>Q", "<bbox>1,2,3,4</bbox>", image=["a.png", "b.png"], width=None, height=None),
            "exactly one picture, the row has 2",
        ),
        (docowl("<|image|>Q", ""), "says nothing"),
    ],
)
def test_docowl_refuses_broken_rows_with_a_reason(row: dict[str, Any], reason: str):
    with pytest.raises(SkipSample, match=re.escape(reason)):
        docowl_jsonl.to_samples(row, context())


# interleaved and text


def test_an_interleaved_document_keeps_its_order_and_its_blank_lines():
    row = {"images": [None, "a.jpg", None, None], "texts": ["One.\n\nTwo.", None, "Three.", "Four."], "metadata": "[]"}
    sample = one(interleaved.to_samples(row, context(Category.INTERLEAVED)))
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and message.trained and sample.meta == {"metadata": []}
    assert message.parts[0] == TextPart("One.\n\nTwo.") and isinstance(message.parts[1], ImagePart)
    assert message.parts[2:] == (TextPart("Three.\n\nFour."),)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"images": [None], "texts": ["a", "b"]}, "one length"),
        ({"images": [None], "texts": [None]}, "exactly one"),
        ({"images": ["a.png"], "texts": ["a"]}, "exactly one"),
        ({"images": ["a.png"], "texts": [None]}, "without text"),
        ({"images": [None], "texts": [4]}, "the text is a int"),
        ({"images": ["https://x/a.png", None], "texts": [None, "a"]}, "network address"),
    ],
)
def test_interleaved_refuses_broken_rows_with_a_reason(row: dict[str, Any], reason: str):
    with pytest.raises(SkipSample, match=re.escape(reason)):
        interleaved.to_samples(row, context())


def test_text_is_a_trained_document():
    sample = one(text.to_samples({"text": "Hello <image>", "id": 3}, context(Category.TEXT)))
    assert sample.messages[0].parts == (TextPart("Hello <image>"),) and sample.messages[0].trained
    assert sample.meta == {"id": 3}
