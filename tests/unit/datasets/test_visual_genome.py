"""Visual Genome's files as released: sizes apart, two ways to number pictures, two ways to write boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Box, Point
from mm15.datasets import visual_genome
from rows_fixture import one, read_all, refusal, regions, samples, save_picture, write_json

URL = "https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg"


def write(tmp_path: Path, name: str, *records: dict[str, Any], images: Any = None) -> Path:
    about = images or [{"image_id": 1, "width": 90, "height": 60, "url": URL, "coco_id": None, "flickr_id": None}]
    write_json(tmp_path / "image_data.json", about)
    return write_json(tmp_path / name, list(records))


def region(number: int = 1, phrase: str = "a red car", **box: Any) -> dict[str, Any]:
    place = {"x": 10, "y": 20, "width": 30, "height": 30} | box
    return {"region_id": number, "image_id": 1, "phrase": phrase, **place}


def thing(number: int, *names: str, **more: Any) -> dict[str, Any]:
    place = {"x": number, "y": 2, "w": 20, "h": 30}
    return {"object_id": number, "names": list(names), "synsets": [], **place, **more}


@pytest.mark.parametrize("outer", [{"id": 1}, {"image_id": 1}, {"id": 1, "image_id": 1}])
def test_a_region_is_found_and_named_whichever_number_the_release_uses(tmp_path: Path, outer: dict[str, int]):
    path = write(tmp_path, "region_descriptions.json", {**outer, "regions": [region()]})
    found = one(read_all(visual_genome, path, tmp_path, tasks=("ground",)))
    assert found.images[0].media.path == str(tmp_path / "VG_100K_2/1.jpg")
    assert (found.images[0].width, found.images[0].height) == (90, 60)
    assert "a red car" in found.messages[0].text and found.messages[1].text == "a red car "
    assert regions(found, 1) == [Box(10, 20, 40, 50)] and found.meta == {"image_id": 1}
    named = one(read_all(visual_genome, path, tmp_path, tasks=("refer",), point_share=1, images="vg"))
    assert named.messages[1].text == "a red car" and isinstance(regions(named, 0)[0], Point)
    assert named.images[0].media.path == str(tmp_path / "vg/VG_100K_2/1.jpg")


def test_objects_write_w_and_h_and_a_shared_name_is_never_looked_for(tmp_path: Path):
    items = [thing(1, "dog"), thing(2, "dog"), thing(40, "cat", "kitten")]
    path = write(tmp_path, "objects.json", {"image_id": 1, "objects": items})
    found = one(read_all(visual_genome, path, tmp_path, part="objects", tasks=("ground",)))
    assert len(found.messages) == 2 and "the cat" in found.messages[0].text
    assert regions(found, 1) == [Box(40, 2, 60, 32)]
    named = one(read_all(visual_genome, path, tmp_path, part="objects", tasks=("refer",), point_share=0))
    assert sorted(message.text for message in named.messages[1::2]) == ["cat", "dog", "dog"]


def test_a_name_that_another_box_has_outside_of_this_row_is_not_looked_for_either(tmp_path: Path):
    items = [thing(k, "dog") for k in range(1, 9)]
    path = write(tmp_path, "objects.json", {"image_id": 1, "objects": items})
    told = refusal(read_all(visual_genome, path, tmp_path, part="objects", tasks=("ground",), turns=1))
    assert "1 objects, nothing to ask" in told


def test_attributes_say_what_things_look_like(tmp_path: Path):
    items = [thing(1, "ball", attributes=["red", " round ", "red"]), thing(40, "cat", attributes=None)]
    path = write(tmp_path, "attributes.json", {"image_id": 1, "attributes": items})
    named = one(read_all(visual_genome, path, tmp_path, part="attributes", tasks=("refer",), point_share=0))
    assert {message.text for message in named.messages[1::2]} == {"red, round ball", "cat"}


def test_relations_name_two_regions(tmp_path: Path):
    item = {
        "relationship_id": 3,
        "predicate": "ON",
        "subject": {"object_id": 1, "name": "cup", "x": 1, "y": 2, "w": 10, "h": 10},
        "object": {"object_id": 2, "names": ["table"], "x": 0, "y": 20, "w": 90, "h": 40},
    }
    path = write(tmp_path, "relationships.json", {"image_id": 1, "relationships": [item]})
    boxes = [Box(1, 2, 11, 12), Box(0, 20, 90, 60)]
    found = one(read_all(visual_genome, path, tmp_path, part="relations", tasks=("ground",)))
    assert "the cup on the table" in found.messages[0].text
    assert found.messages[1].text == "cup  on table " and regions(found, 1) == boxes
    named = one(read_all(visual_genome, path, tmp_path, part="relations", tasks=("refer",), point_share=0))
    assert regions(named, 0) == boxes and named.messages[1].text == "cup on table"


def test_questions_carry_the_hint_for_short_answers_once(tmp_path: Path):
    items = [{"qa_id": k, "image_id": 1, "question": f"How many {k}?", "answer": f"{k}."} for k in (1, 2)]
    path = write(tmp_path, "question_answers.json", {"id": 1, "qas": items})
    sample = one(read_all(visual_genome, path, tmp_path, part="qa"))
    asked = [message.text for message in sample.messages]
    assert "single word or phrase" in asked[0] and "single word" not in asked[2]
    assert {asked[1], asked[3]} == {"1.", "2."} and not regions(sample)


def test_all_annotations_of_a_picture_fill_as_many_rows_as_it_takes(tmp_path: Path):
    items = [region(k, f"thing {k}", x=k) for k in range(7)]
    path = write(tmp_path, "region_descriptions.json", {"id": 1, "regions": items})
    some = one(read_all(visual_genome, path, tmp_path, turns=3))
    every = samples(read_all(visual_genome, path, tmp_path, turns=3, pictures="all", tasks=("refer",)))
    assert len(some.messages) == 6 and [len(sample.messages) for sample in every] == [6, 6, 2]
    assert {m.text for s in every for m in s.messages[1::2]} == {f"thing {k}" for k in range(7)}


def test_boxes_that_leave_the_picture_are_cut_or_refused_as_told(tmp_path: Path):
    path = write(tmp_path, "region_descriptions.json", {"id": 1, "regions": [region(x=80), region(2, "b", y=-7)]})
    cut = one(read_all(visual_genome, path, tmp_path, tasks=("ground",)))
    assert set(regions(cut)) == {Box(80, 20, 90, 50), Box(10, 0, 40, 23)}
    assert "outside" in refusal(read_all(visual_genome, path, tmp_path, outside="refuse"))


def test_boxes_turn_with_an_exif_orientation(tmp_path: Path):
    save_picture(tmp_path / "VG_100K_2/1.jpg", orientation=3)
    path = write(tmp_path, "region_descriptions.json", {"id": 1, "regions": [region()]})
    assert regions(one(read_all(visual_genome, path, tmp_path, tasks=("ground",)))) == [Box(50, 10, 80, 40)]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"id": 2, "regions": [region()]}, "picture 2 is not in image_data.json"),
        ({"id": 1, "image_id": 2, "regions": [region()]}, "they differ"),
        ({"regions": [region()]}, "neither 'image_id' nor 'id'"),
        ({"id": 1, "regions": None}, "no list of objects"),
        ({"id": 1, "regions": []}, "0 regions, nothing to ask"),
        ({"id": 1, "regions": [region(width=0)]}, "has no area"),
        ({"id": 1, "regions": [region(x="10")]}, "four numbers"),
        ({"id": 1, "regions": [region(phrase=" ")]}, "'phrase' must be a text"),
        ({"id": 1, "regions": [region(x=200)]}, "outside the picture of 90 x 60"),
    ],
)
def test_broken_records_are_refused_by_their_place(tmp_path: Path, record: dict[str, Any], reason: str):
    told = refusal(read_all(visual_genome, write(tmp_path, "region_descriptions.json", record), tmp_path))
    assert reason in told and "region_descriptions.json:[0]" in told


@pytest.mark.parametrize(
    ("part", "field", "item", "reason"),
    [
        ("objects", "objects", {"object_id": 1, "names": [], "x": 1, "y": 1, "w": 2, "h": 3}, "name of an object"),
        ("attributes", "attributes", thing(1, "a", attributes="red"), "list of texts"),
        ("relations", "relationships", {"predicate": "on", "subject": thing(1, "a")}, "'subject' and an 'object'"),
        ("relations", "relationships", {"subject": thing(1, "a"), "object": thing(2, "b")}, "'predicate'"),
        ("qa", "qas", {"question": "Q", "answer": ""}, "'answer' must be a text"),
    ],
)
def test_broken_items_are_refused(tmp_path: Path, part: str, field: str, item: dict[str, Any], reason: str):
    path = write(tmp_path, "a.json", {"image_id": 1, field: [item]})
    assert reason in refusal(read_all(visual_genome, path, tmp_path, part=part))


def test_a_picture_of_unknown_size_is_refused(tmp_path: Path):
    path = write(tmp_path, "a.json", {"id": 1, "regions": [region()]}, images=[{"image_id": 1, "url": URL}])
    assert "whole pixels above 0" in refusal(read_all(visual_genome, path, tmp_path))


def test_another_part_of_the_data_set_is_recognised(tmp_path: Path):
    path = write(tmp_path, "objects.json", {"image_id": 1, "objects": [thing(1, "dog")]})
    with pytest.raises(ConfigError, match=r"set options\.part: objects"):
        read_all(visual_genome, path, tmp_path)


def test_a_missing_image_data_is_named(tmp_path: Path):
    path = write_json(tmp_path / "a.json", [])
    with pytest.raises(ConfigError, match=r"image_data\.json"):
        read_all(visual_genome, path, tmp_path)
