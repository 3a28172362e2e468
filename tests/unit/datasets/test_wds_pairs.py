"""Pairs of picture and caption in tars, as img2dataset writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_fixture import small_processor
from format_fixture import Opened, made, picture, refused, told, write_tar
from mm15.base.errors import SkipSample
from mm15.base.types import Category, ImagePart, Role
from mm15.images.pixels import open_picture
from mm15.io.media import read_bytes


def record(**more: object) -> str:
    return json.dumps(
        {"key": "000000000", "url": "https://x/a.jpg", "caption": "From json.", "status": "success"} | more
    )


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_tar(
        tmp_path / "00000.tar",
        {
            "./000000000.jpg": picture(31, 20, form="JPEG"),
            "./000000000.txt": "A red kangaroo.\n",
            "./000000000.json": record(uid="u1", face_bboxes=[[0, 0, 5, 5]], width=31, height=20),
            "000000001.webp": picture(32, 21, form="WEBP"),
            "000000002.txt": "Its picture stands after the others.",
            "000000001.caption": "Two cups.",
            "000000002.png": picture(33, 22),
        },
    )


def test_a_pair_is_a_document_of_the_picture_and_its_trained_caption(shard: Path):
    sample = Opened("wds-pairs", shard, Category.CAPTION).sample(0)
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and message.trained
    assert told(message.parts) == ["<00000.tar:./000000000.jpg>", "A red kangaroo."]
    assert read_bytes(sample.images[0].media) == picture(31, 20, form="JPEG")
    assert sample.key == "set/0" and sample.meta["uid"] == "u1" and sample.meta["__key__"] == "000000000"
    assert sample.images[0].width == 0, "the header decides, not the record"


def test_other_pictures_other_captions_and_members_in_any_order(shard: Path):
    opened = Opened("wds-pairs", shard, Category.CAPTION)
    assert len(opened.rows) == 3
    assert [told(opened.sample(row).messages[0].parts)[1] for row in (1, 2)] == [
        "Two cups.",
        "Its picture stands after the others.",
    ]
    assert opened.sample(1).images[0].media.member == "000000001.webp"


def test_the_caption_of_the_record_sizes_and_a_prompt(shard: Path):
    options = {"caption": "json.caption", "sizes": True, "prompt": "Describe the image."}
    opened = Opened("wds-pairs", shard, **options)
    question, answer = opened.sample(0).messages
    assert told(question.parts)[1] == "Describe the image." and answer.text == "From json." and answer.trained
    image = question.parts[0]
    assert isinstance(image, ImagePart) and (image.width, image.height) == (31, 20)
    assert "no 'caption'; it has: nothing" in opened.refused(1)
    assert "no 'title'" in Opened("wds-pairs", shard, caption="json.title").refused(0)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"1.txt": "Alone."}, "no picture (members: txt)"),
        ({"1.jpg": picture()}, "no caption (members: jpg)"),
        ({"1.jpg": picture(), "1.txt": " \n"}, "an empty caption in txt"),
        ({"1.jpg": b"", "1.txt": "A cup."}, "an empty picture: 0 bytes"),
        ({"1.jpg": picture(), "1.png": picture(), "1.txt": "A cup."}, "several pictures: jpg, png; name one"),
        ({"1.jpg": picture(), "1.txt": b"\xff\xfe\xff"}, "not UTF-8"),
        ({"1.jpg": picture(), "1.txt": "A cup.", "1.json": b'{"url": "\xff"}'}, "not UTF-8"),
        ({"1.jpg": picture(), "1.txt": "A cup.", "1.json": "{"}, "not valid JSON"),
        ({"1.jpg": picture(), "1.txt": "A cup.", "1.json": "[]"}, "is a list, no JSON object"),
        (
            {"1.jpg": picture(), "1.txt": "A cup.", "1.json": record(status="failed", error_message="404")},
            "status 'failed': 404",
        ),
    ],
)
def test_a_key_that_is_not_whole_is_refused(tmp_path: Path, members: dict[str, bytes | str], reason: str):
    assert reason in Opened("wds-pairs", write_tar(tmp_path / "a.tar", members)).refused(0)


def test_a_named_picture_is_taken_where_there_are_several(tmp_path: Path):
    tar = write_tar(tmp_path / "a.tar", {"1.jpg": picture(), "1.png": picture(), "1.txt": "A cup."})
    assert Opened("wds-pairs", tar, image="png").sample(0).images[0].media.member == "1.png"


def test_the_end_of_a_truncated_tar_is_refused_and_what_stands_before_it_is_used(tmp_path: Path):
    members = {"1.jpg": picture(), "1.txt": "A cup.", "2.txt": "Cut.", "2.jpg": picture(300, 200, form="BMP")}
    tar = write_tar(tmp_path / "a.tar", members)
    tar.write_bytes(tar.read_bytes()[:6000])
    opened = Opened("wds-pairs", tar)
    assert opened.sample(0).messages[0].text == "A cup."
    with pytest.raises(SkipSample, match="cut off"):
        opened.sample(1)


def test_sizes_that_are_not_stated_are_refused_when_they_are_asked_for():
    row = {"__key__": "1", "jpg": "1.jpg", "txt": "A cup.", "json": {"width": 0, "height": 20}}
    assert "states no size: width 0" in refused("wds-pairs", row, sizes=True)
    assert made("wds-pairs", row).images[0].media.path == "/data/1.jpg"


def test_pictures_of_every_kind_are_encoded_and_turned(tmp_path: Path):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    kinds = {
        "cmyk": picture(60, 30, (0, 10, 20, 30), form="JPEG", mode="CMYK"),
        "deep": picture(60, 30, 40_000, mode="I;16"),
        "clear": picture(60, 30, 0, mode="P", transparency=0),
        "turned": picture(30, 60, form="JPEG", exif=exif),
    }
    members: dict[str, bytes | str] = {}
    for name, data in kinds.items():
        ending = "png" if data.startswith(b"\x89PNG") else "jpg"
        members |= {f"{name}.{ending}": data, f"{name}.txt": "a cup"}
    opened = Opened("wds-pairs", write_tar(tmp_path / "a.tar", members), Category.CAPTION)
    processor = small_processor()
    for row in range(len(kinds)):
        sample = opened.sample(row)
        part = sample.images[0]
        assert open_picture(read_bytes(part.media)).size == (60, 30), sample.meta
        encoded = processor.encode(sample)
        assert len(encoded.tokens_T) == processor.count(sample).tokens and int((encoded.labels_T >= 0).sum()) == 6
