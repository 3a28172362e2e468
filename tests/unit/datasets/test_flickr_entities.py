"""Flickr30k Entities as released: a folder of XML, a folder of bracketed captions, id lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Box, Category, ImagePart, Role
from mm15.datasets import flickr_entities
from rows_fixture import one, read_all, refusal, regions, samples, save_picture

OBJECT = (
    "<object>{names}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
    "<id>1</id></object>"
)
SENTENCE = (
    "[/EN#283585/people A young girl] in [/EN#283586/clothing/bodyparts a red dress] waits at "
    "[/EN#0/other the end] of [/EN#283587/scene a park] ."
)


def box(names: str, *corners: float) -> str:
    return OBJECT.format(*corners, names="".join(f"<name>{name}</name>" for name in names.split()))


def write(tmp_path: Path, *objects: str, sentences: str = SENTENCE, size: str = "", ids: str = "1\n") -> Path:
    size = size or "<size><width>90</width><height>60</height><depth>3</depth></size>"
    folder = tmp_path / "flickr30k_entities"
    for part in ("Annotations", "Sentences"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    body = f"<annotation><filename>1.jpg</filename>{size}{''.join(objects)}</annotation>"
    (folder / "Annotations/1.xml").write_text(body)
    (folder / "Sentences/1.txt").write_text(sentences, encoding="utf-8")
    (folder / "train.txt").write_text(ids)
    return folder


GIRL = box("283585", 10, 20, 30, 50)
DRESS = box("283586 283585", 12, 25, 28, 55)
SCENE = "<object><name>283587</name><scene>1</scene><nobndbox>1</nobndbox></object>"


def test_phrases_are_asked_for_and_answered_with_merged_boxes(tmp_path: Path):
    sample = one(read_all(flickr_entities, write(tmp_path, GIRL, DRESS, SCENE), tmp_path))
    assert sample.images[0].media.path == str(tmp_path / "flickr30k-images/1.jpg")
    assert "A young girl and a red dress" in sample.messages[0].text
    assert not any(word in sample.messages[0].text for word in ("the end", "park", "["))
    assert sample.messages[1].text == "A young girl , a red dress "
    assert regions(sample, 1) == [Box(10, 20, 30, 55), Box(12, 25, 28, 55)]
    assert sample.meta == {"id": "1", "sentence": SENTENCE}


def test_every_box_of_a_phrase_can_be_kept(tmp_path: Path):
    sample = one(read_all(flickr_entities, write(tmp_path, GIRL, DRESS), tmp_path, boxes="each"))
    assert regions(sample, 1) == [Box(10, 20, 30, 50), Box(12, 25, 28, 55), Box(12, 25, 28, 55)]
    assert sample.messages[1].text == "A young girl , , a red dress "


def test_a_grounded_caption_has_boxes_behind_its_phrases_and_plain_words_elsewhere(tmp_path: Path):
    sample = one(read_all(flickr_entities, write(tmp_path, GIRL, DRESS, SCENE), tmp_path, tasks=("caption",)))
    answer = sample.messages[1]
    assert answer.text == "A young girl  in a red dress  waits at the end of a park."
    assert regions(sample, 1) == [Box(10, 20, 30, 55), Box(12, 25, 28, 55)]


def test_a_plain_caption_is_a_document_or_an_answer(tmp_path: Path):
    folder = write(tmp_path, GIRL)
    told = one(read_all(flickr_entities, folder, tmp_path, Category.CAPTION, tasks=("plain",)))
    assert told.messages[0].role is Role.DOCUMENT and isinstance(told.messages[0].parts[0], ImagePart)
    assert told.messages[0].text == "A young girl in a red dress waits at the end of a park."
    asked = one(read_all(flickr_entities, folder, tmp_path, tasks=("plain",)))
    assert asked.messages[1].text == told.messages[0].text


def test_a_row_is_a_caption_and_phrases_share_their_boxes_across_captions(tmp_path: Path):
    lines = "[/EN#283585/people A girl] runs .\n\n[/EN#283585/people The child] 's dog , too .\n"
    read = samples(read_all(flickr_entities, write(tmp_path, GIRL, sentences=lines), tmp_path))
    assert [sample.messages[1].text for sample in read] == ["A girl ", "The child "]
    assert [regions(sample) for sample in read] == [[Box(10, 20, 30, 50)]] * 2
    grounded = samples(read_all(flickr_entities, tmp_path / "flickr30k_entities", tmp_path, tasks=("caption",)))
    assert grounded[1].messages[1].text == "The child 's dog, too."


def test_only_the_split_is_read(tmp_path: Path):
    folder = write(tmp_path, GIRL, ids="")
    assert read_all(flickr_entities, folder, tmp_path) == []
    assert len(read_all(flickr_entities, folder, tmp_path, split="")) == 1
    with pytest.raises(ConfigError, match=r"test\.txt"):
        read_all(flickr_entities, folder, tmp_path, split="test")
    (write(tmp_path, GIRL) / "Sentences/1.txt").unlink()
    with pytest.raises(ConfigError, match="'1' is in the id list"):
        read_all(flickr_entities, folder, tmp_path)


def test_the_rows_say_which_files_they_come_from(tmp_path: Path):
    folder = write(tmp_path, GIRL)
    rows = flickr_entities.open_rows(folder, flickr_entities.Options())
    assert [file.suffix for file in rows.files] == [".rows", ".txt"] and all(file.is_file() for file in rows.files)
    assert rows.address(0).endswith("flickr30k_entities:Sentences/1.txt:1")


def test_boxes_turn_with_an_exif_orientation(tmp_path: Path):
    save_picture(tmp_path / "flickr30k-images/1.jpg", orientation=8)
    folder = write(tmp_path, box("283585", 0, 0, 30, 20))
    assert regions(one(read_all(flickr_entities, folder, tmp_path))) == [Box(0, 60, 20, 90)]


@pytest.mark.parametrize(
    ("objects", "sentences", "size", "reason"),
    [
        ([SCENE], SENTENCE, "", "no phrase of the caption has a box"),
        ([GIRL], "[/EN#0/notvisual It] rains .", "", "no phrase of the caption has a box"),
        ([box("283585", 30, 20, 10, 50)], SENTENCE, "", "inverted"),
        ([box("283585", 30, 20, 30, 50)], SENTENCE, "", "empty"),
        ([box("283585", 130, 20, 140, 50)], SENTENCE, "", "outside the picture of 90 x 60"),
        ([GIRL.replace("20", "abc")], SENTENCE, "", "1.xml cannot be read"),
        ([GIRL], SENTENCE, "<size></size>", "whole pixels above 0"),
        ([GIRL, "<object>"], SENTENCE, "", "1.xml cannot be read"),
        ([GIRL], "[/EN#283585 A girl] runs .", "", "a bracket that is no phrase"),
        ([GIRL], "[/EN#283585/people A girl runs .", "", "a bracket that is no phrase"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, objects: list[str], sentences: str, size: str, reason: str):
    told = refusal(read_all(flickr_entities, write(tmp_path, *objects, sentences=sentences, size=size), tmp_path))
    assert reason in told


def test_xml_with_entities_and_captions_in_another_encoding_are_refused(tmp_path: Path):
    folder = write(tmp_path, GIRL)
    file = folder / "Annotations/1.xml"
    file.write_text(f'<!DOCTYPE a [<!ENTITY b "c">]>{file.read_text()}')
    assert "declares entities" in refusal(read_all(flickr_entities, folder, tmp_path))
    (write(tmp_path, GIRL) / "Sentences/1.txt").write_bytes(b"[/EN#283585/people A g\xffrl] runs .")
    (folder / "train.txt").write_text("1")
    assert "not UTF-8" in refusal(read_all(flickr_entities, folder, tmp_path))
