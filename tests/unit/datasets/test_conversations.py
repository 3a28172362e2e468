"""Conversations on disk: LLaVA and its relatives, The Cauldron, chats of role and content, DocOwl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from format_fixture import IMAGE, Opened, made, picture, refused, told, write_parquet
from mm15.base.errors import ConfigError
from mm15.base.types import Box, Category, ImagePart, Role, VideoPart


def talk(*values: str, first: str = "human") -> list[dict[str, str]]:
    order = ["human", "gpt"] if first == "human" else ["gpt", "human"]
    return [{"from": order[i % 2], "value": value} for i, value in enumerate(values)]


def turns(*contents: Any, first: str = "user") -> list[dict[str, Any]]:
    order = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": order[i % 2], "content": content} for i, content in enumerate(contents)]


# llava


def test_llava_in_one_json_array_and_in_lines(tmp_path: Path):
    rows = [
        {"id": 3, "image": "coco/a.jpg", "conversations": talk("<image>\nWhat?", "A dog.")},
        {"id": 3, "conversations": talk("Two?", "Four.")},
    ]
    (tmp_path / "mix.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "mix.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for name in ("mix.json", "mix.jsonl"):
        opened = Opened("llava", tmp_path / name)
        assert told(opened.sample(0).messages[0].parts) == ["<a.jpg>", "\nWhat?"]
        assert opened.sample(0).images[0].media.path == str(tmp_path / "coco/a.jpg")
        assert [opened.sample(row).meta["id"] for row in (0, 1)] == [3, 3], (
            "ids may repeat; the key does not come of them"
        )
        assert opened.sample(0).key != opened.sample(1).key


RECAP = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("image", IMAGE),
        ("conversations", pyarrow.list_(pyarrow.struct([("from", pyarrow.string()), ("value", pyarrow.string())]))),
        ("data_source", pyarrow.string()),
    ]
)


def test_llava_in_parquet_with_bytes_with_a_path_alone_and_with_a_null_struct(tmp_path: Path):
    asked = talk("<image>\nDescribe.", "A dog.")
    rows = [
        {"id": "1", "image": {"bytes": picture(), "path": "a.png"}, "conversations": asked, "data_source": "cc3m"},
        {"id": "2", "image": {"bytes": None, "path": "b.png"}, "conversations": asked, "data_source": "cc3m"},
        {"id": "3", "image": None, "conversations": asked, "data_source": "cc3m"},
        {"id": "4", "image": {"bytes": None, "path": None}, "conversations": asked, "data_source": "cc3m"},
        {"id": "5", "image": None, "conversations": talk("Q", "A"), "data_source": "cc3m"},
        {"id": "6", "image": {"bytes": b"", "path": "c.png"}, "conversations": asked, "data_source": "cc3m"},
    ]
    opened = Opened("llava", write_parquet(tmp_path / "recap.parquet", rows, RECAP))
    first = opened.sample(0)
    assert first.images[0].media.data == picture() and first.meta == {"id": "1", "data_source": "cc3m"}
    assert opened.sample(1).images[0].media.path == str(tmp_path / "b.png")
    assert opened.refused(2) == "1 <image> placeholders for 0 pictures"
    assert "not a file name" in opened.refused(3)
    assert opened.sample(4).images == ()
    assert opened.sample(5).images[0].media.data == b"", "refused by name when it is opened"


@pytest.mark.parametrize("empty", ["", None, []])
def test_an_empty_image_field_is_a_row_of_text(empty: Any):
    assert made("llava", {"image": empty, "conversations": talk("Q", "A")}).images == ()


def test_in_a_row_without_pictures_the_placeholder_is_text_like_any_other():
    sample = made("llava", {"conversations": talk("Write <image> in HTML.", "Use <img>, not <image>.")})
    assert [message.text for message in sample.messages] == ["Write <image> in HTML.", "Use <img>, not <image>."]


def test_missing_placeholders_come_first_when_the_recipe_says_so():
    row = {"image": ["a.jpg", "b.jpg", "c.jpg"], "conversations": talk("See <image> here.", "Yes.", "And?", "No.")}
    assert refused("llava", row) == "1 <image> placeholders for 3 pictures"
    assert refused("llava", row, placeholders="drop_extra_placeholders").startswith("1 <image>")
    sample = made("llava", row, placeholders="prepend_missing")
    assert told(sample.messages[0].parts) == ["<a.jpg>", "\n", "<b.jpg>", "\n", "See ", "<c.jpg>", " here."]
    assert sample.meta["placeholders_added"] == 2
    assert (
        "placeholders_added"
        not in made(
            "llava", {"image": "a.jpg", "conversations": talk("<image>Q", "A")}, placeholders="prepend_missing"
        ).meta
    )


def test_extra_placeholders_go_when_the_recipe_says_so():
    row = {
        "image": "a.jpg",
        "conversations": talk("<image>\nOne <image>\ntwo", "The <image> one.", "<image>Sure?", "Yes."),
    }
    assert refused("llava", row) == "4 <image> placeholders for 1 pictures"
    assert refused("llava", row, placeholders="prepend_missing").startswith("4 <image>")
    sample = made("llava", row, placeholders="drop_extra_placeholders")
    assert [told(message.parts) for message in sample.messages] == [
        ["<a.jpg>", "\nOne two"],
        ["The  one."],
        ["Sure?"],
        ["Yes."],
    ]
    assert sample.meta["placeholders_dropped"] == 3
    only_answer = {"image": ["a.jpg", "b.jpg"], "conversations": talk("<image>Q", "<image> <image> A")}
    assert "3 <image>" in refused("llava", only_answer, placeholders="drop_extra_placeholders")


def test_names_of_speakers_in_sharegpt():
    for speaker in ("gpt", "chatgpt", "bard", "bing", "assistant"):
        rows = [
            {"from": "system", "value": "Be short."},
            {"from": "human", "value": "Q"},
            {"from": speaker, "value": "A"},
        ]
        sample = made("llava", {"conversations": rows})
        assert [message.role for message in sample.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]


def test_a_leading_answer_of_a_text_row_goes_when_the_recipe_says_so():
    row = {"conversations": talk("Hello.", "Q", "A", first="gpt")}
    assert "must alternate" in refused("llava", row)
    sample = made("llava", row, leading_answer="drop")
    assert [message.text for message in sample.messages] == ["Q", "A"] and sample.meta["answers_dropped"] == 1
    system = {"conversations": [{"from": "system", "value": "S"}, *row["conversations"]]}
    assert [message.text for message in made("llava", system, leading_answer="drop").messages] == ["S", "Q", "A"]
    pictured = row | {"image": "a.jpg", "conversations": talk("Hello.", "<image>Q", "A", first="gpt")}
    assert "must alternate" in refused("llava", pictured, leading_answer="drop")


@pytest.mark.parametrize("marker", ["<video>", "<image>"])
def test_a_video_is_a_file_or_a_folder_of_frames(marker: str):
    row = {"id": "v", "video": "clips/a.mp4", "conversations": talk(f"{marker}\nWhat happens?", "He runs.")}
    clip, text = made("llava", row, Category.VIDEO, frames=10).messages[0].parts
    assert isinstance(clip, VideoPart) and clip.frames == 10 and clip.media.path == "/data/clips/a.mp4"
    assert told([text]) == ["\nWhat happens?"]
    folder = made("llava", row | {"video": "frames/a"}, Category.VIDEO)
    assert isinstance(folder.messages[0].parts[0], VideoPart) and folder.messages[0].parts[0].frames == 24
    bare = {"video": "a.mp4", "conversations": talk("What happens?", "He runs.")}
    assert told(made("llava", bare, placeholders="prepend_missing").messages[0].parts)[0] == "<a.mp4>"
    assert "inside a turn of the assistant" in refused("llava", row | {"conversations": talk("Q", f"{marker}A")})
    assert "stay inside" in refused("llava", row | {"video": "../a.mp4"})


# The Cauldron


def test_the_cauldron_puts_all_pictures_first_and_all_pairs_into_one_conversation(tmp_path: Path):
    pairs = [
        {"user": "Question: Same?\nAnswer yes or no.", "assistant": "No.", "source": "NLVR2"},
        {"user": "Sure?", "assistant": "Yes.", "source": "NLVR2"},
    ]
    images = [{"bytes": picture(), "path": None}, {"bytes": picture(40, 10), "path": "x.png"}]
    path = write_parquet(tmp_path / "nlvr2.parquet", [{"images": images, "texts": pairs}])
    sample = Opened("cauldron", path, Category.MULTI_IMAGE).sample()
    assert [message.role for message in sample.messages] == [Role.USER, Role.ASSISTANT] * 2
    first = sample.messages[0].parts
    assert [type(part) for part in first[:2]] == [ImagePart] * 2 and told(first)[2].startswith("Question: Same?\n")
    assert [image.media.data for image in sample.images] == [picture(), picture(40, 10)]
    assert sample.meta == {"source": ["NLVR2"]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"images": [], "texts": [{"user": "Q", "assistant": "A"}]}, "no pictures"),
        ({"images": ["a.png"], "texts": []}, "at least one pair"),
        ({"images": None, "texts": [{"user": "Q", "assistant": "A"}]}, "'images' must be a list"),
        ({"images": [None], "texts": [{"user": "Q", "assistant": "A"}]}, "not a file name"),
        ({"images": ["a.png"], "texts": [{"user": "Q", "assistant": " "}]}, "pair 0: the assistant says nothing"),
        ({"images": ["a.png"], "texts": [{"user": "", "assistant": "A"}]}, "pair 0: the user says nothing"),
        ({"images": ["a.png"], "texts": [{"user": "Q"}]}, "pair 0 needs"),
        ({"images": ["a.png"], "texts": [None]}, "pair 0 needs"),
    ],
)
def test_the_cauldron_refuses_broken_rows(row: dict[str, Any], reason: str):
    assert reason in refused("cauldron", row)


def test_a_cauldron_row_of_text_belongs_to_text_only():
    row = {"images": [], "texts": [{"user": "Q", "assistant": "A"}]}
    assert made("cauldron", row, Category.TEXT_ONLY).messages[1].text == "A"


# messages


def test_mantis_in_parquet(tmp_path: Path):
    row = {
        "id": "m1",
        "images": [{"bytes": picture(), "path": "a.png"}, {"bytes": None, "path": "b.png"}],
        "conversation": turns("First <image>, then <image>: same?", "No.", "Sure?", "Yes."),
        "source": "nlvr2",
    }
    sample = Opened("messages", write_parquet(tmp_path / "m.parquet", [row]), Category.MULTI_IMAGE).sample()
    assert told(sample.messages[0].parts) == ["First ", "<>", ", then ", "<b.png>", ": same?"]
    assert sample.images[0].media.data == picture() and sample.meta == {"id": "m1", "source": "nlvr2"}
    assert [message.trained for message in sample.messages] == [False, True] * 2


def test_code_feedback_in_lines(tmp_path: Path):
    path = tmp_path / "code.jsonl"
    path.write_text(json.dumps({"id": 1, "messages": turns("Parse <image> tags.", "x = 1")}), encoding="utf-8")
    sample = Opened("messages", path, Category.CODE).sample()
    assert [message.text for message in sample.messages] == ["Parse <image> tags.", "x = 1"] and sample.meta == {
        "id": 1
    }


def test_content_in_parts_with_pictures_in_place_or_beside():
    asked = [
        {"type": "text", "text": "Is "},
        {"type": "image"},
        {"type": "text", "text": " like "},
        {"type": "image_url", "image_url": {"url": "b.png"}},
        {"type": "image", "image": "c.png"},
        {"type": "text", "text": "? <image>"},
    ]
    sample = made("messages", {"images": ["a.png"], "messages": turns(asked, "No.")})
    assert told(sample.messages[0].parts) == ["Is ", "<a.png>", " like ", "<b.png>", "<c.png>", "? <image>"]


def test_other_names_of_columns():
    row = {"chat": [{"who": "user", "says": "<image>Q"}, {"who": "assistant", "says": "A"}], "pics": "a.png"}
    sample = made("messages", row, turns="chat", images="pics", role="who", content="says")
    assert told(sample.messages[0].parts) == ["<a.png>", "Q"]
    assert refused("messages", row, turns="talk") == "no column 'talk'; there are: chat, pics"


def test_messages_knows_the_policies_for_placeholders():
    row = {"images": ["a.png", "b.png"], "messages": turns("<image>Q", "A")}
    assert refused("messages", row) == "1 <image> placeholders for 2 pictures"
    assert told(made("messages", row, placeholders="prepend_missing").messages[0].parts)[0] == "<a.png>"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "'messages' must be a list"),
        ({"messages": turns("Q", "A", "Q")}, "must alternate"),
        ({"messages": turns("A", "Q", first="assistant")}, "must alternate"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unknown role 'tool'"),
        ({"messages": [{"role": "user"}]}, "turn 0 needs 'role' and 'content'"),
        ({"messages": turns("Q", None)}, "turn 1: the content is a NoneType"),
        ({"messages": turns("Q", "")}, "turn 1: the assistant says nothing"),
        ({"messages": turns([{"type": "audio"}], "A")}, "a part of type 'audio'"),
        ({"messages": turns([{"type": "image"}], "A")}, "no picture is left"),
        (
            {"images": ["a.png"], "messages": turns([{"type": "text", "text": "Q"}], "A")},
            "1 of 1 pictures have no part",
        ),
        ({"images": [], "messages": turns("<image>Q", "A")}, "1 <image> placeholders for 0 pictures"),
        ({"images": ["a.png"], "messages": turns("Q", "<image>A")}, "inside a turn of the assistant"),
        (
            {"messages": turns([{"type": "image", "url": "https://x/a.png"}, {"type": "text", "text": "Q"}], "A")},
            "network",
        ),
    ],
)
def test_messages_refuses_broken_rows(row: dict[str, Any], reason: str):
    assert reason in refused("messages", row)


# docowl-jsonl


def docowl(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"image": ["./imgs/a.png"], "messages": turns(question, answer), "dataset_name": "CCpdf"} | more


def test_docowl_reads_the_size_that_its_rows_do_not_state(tmp_path: Path):
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs/a.png").write_bytes(picture(999, 333))
    (tmp_path / "d.jsonl").write_text(
        json.dumps(docowl("<|image|>Where is <ocr>A</ocr>?", "<bbox>10,30,999,999</bbox>", task_name="phrase_t2bbox")),
        encoding="utf-8",
    )
    sample = Opened("docowl-jsonl", tmp_path / "d.jsonl", Category.OCR).sample()
    assert told(sample.messages[1].parts) == [Box(10, 10, 999, 333)]
    assert sample.messages[0].text == "Where is <ocr>A</ocr>?" and sample.meta["task_name"] == "phrase_t2bbox"


def test_docowl_boxes_turn_with_the_picture(tmp_path: Path):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    (tmp_path / "a.jpg").write_bytes(picture(999, 333, form="JPEG", exif=exif))
    row = docowl("<|image|>Where?", "<bbox>0,0,99,333</bbox>", image=["a.jpg"])
    (box,) = told(made("docowl-jsonl", row, root=tmp_path).messages[1].parts)
    # Turned clockwise: what was at the left top is at the right top.
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((222, 0, 333, 99))


def test_docowl_has_pictures_in_order_and_can_leave_markup_out():
    row = docowl("<|image|><|image|>Parse both.", "<doc> One\n<md>| a |</md> </doc>", image=["a.png", "b.png"])
    sample = made("docowl-jsonl", row, strip_markup=True)
    assert told(sample.messages[0].parts) == ["<a.png>", "<b.png>", "Parse both."]
    assert sample.messages[1].text == "One\n| a |"
    assert made("docowl-jsonl", row).messages[1].text.startswith("<doc> One")


def test_docowl_refuses_a_picture_that_cannot_be_read_for_its_boxes(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "d.jsonl").write_text(
        json.dumps(docowl("<|image|>Where?", "<bbox>1,2,3,4</bbox>", image=["a.png"])), encoding="utf-8"
    )
    assert "empty: 0 bytes" in Opened("docowl-jsonl", tmp_path / "d.jsonl").refused()


# text


def test_text_in_columns_of_any_name(tmp_path: Path):
    rows = [{"raw": "Hello <image>.", "uid": "u1", "score": 3.5}, {"raw": None, "uid": "u2", "score": 1.0}]
    opened = Opened("text", write_parquet(tmp_path / "t.parquet", rows), Category.TEXT, text="raw", id="uid")
    sample = opened.sample(0)
    assert sample.messages[0].text == "Hello <image>." and sample.meta == {"id": "u1", "score": 3.5}
    assert opened.refused(1) == "'raw' must hold some text, found NoneType"
    assert "no column 'text'; there are: raw, uid, score" in Opened("text", tmp_path / "t.parquet").refused()


def test_an_unknown_option_is_refused_with_the_nearest_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="placeholders"):
        Opened("llava", tmp_path / "x.jsonl", placeholder="refuse")
