"""COCO-shaped files as they lie on disk: REFER pickles, MDETR files, instances, LVIS, Objects365, captions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Box, Category, ImagePart, Point, Role, TextPart
from mm15.datasets import coco_refs
from rows_fixture import one, read_all, refusal, regions, samples, save_picture, write_json

IMAGE = {"id": 5, "file_name": "COCO_train2014_000000000005.jpg", "width": 90, "height": 60}
BOX = [10, 20, 30.5, 30]


def mdetr(tmp_path: Path, *boxes: Any, **image: Any) -> Path:
    images = [{**IMAGE, "id": 262407, "original_id": 5, "caption": "two woman", "dataset_name": "refcocog"} | image]
    listed = [{"id": k, "image_id": 262407, "bbox": box, "original_id": 5} for k, box in enumerate(boxes)]
    return write_json(tmp_path / "finetune_refcocog_train.json", {"images": images, "annotations": listed})


def instances(tmp_path: Path, *objects: tuple[int, Any], categories: Any = None, **image: Any) -> Path:
    given = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "traffic_light"}]
    annotations = [
        {"id": k, "image_id": 5, "category_id": kind, "bbox": box, "iscrowd": 0, "segmentation": [[1, 2, 3]]}
        for k, (kind, box) in enumerate(objects)
    ]
    coco = {"images": [IMAGE | image], "annotations": annotations, "categories": categories or given}
    return write_json(tmp_path / "instances_train2017.json", coco)


def refer(tmp_path: Path, refs: list[dict[str, Any]], protocol: int = 2) -> Path:
    write_json(
        tmp_path / "instances.json",
        {"images": [IMAGE], "annotations": [{"id": 77, "image_id": 5, "bbox": BOX, "category_id": 1}]},
    )
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps(refs, protocol=protocol))
    return path


def ref(**changes: Any) -> dict[str, Any]:
    sentences = [{"sent_id": k, "sent": said, "raw": said, "tokens": said.split()} for k, said in enumerate("ab")]
    row = {"ref_id": 1, "ann_id": 77, "image_id": 5, "category_id": 1, "split": "train", "sentences": sentences}
    return row | {"file_name": "COCO_train2014_000000000005_77.jpg"} | changes


# mdetr-json


def test_an_mdetr_expression_is_grounded_in_its_xywh_box(tmp_path: Path):
    sample = one(read_all(coco_refs, mdetr(tmp_path, BOX), tmp_path, tasks=("ground",), images="train2014"))
    question, answer = sample.messages
    assert isinstance(question.parts[0], ImagePart) and "two woman" in question.text
    assert question.parts[0].media.path == str(tmp_path / "train2014/COCO_train2014_000000000005.jpg")
    assert answer.text == "two woman " and regions(sample, 1) == [Box(10, 20, 40.5, 50)]
    assert answer.trained and not question.trained
    assert sample.meta == {"id": 262407, "original_id": 5, "dataset_name": "refcocog"}


def test_an_mdetr_expression_is_asked_for_by_box_or_point(tmp_path: Path):
    path = mdetr(tmp_path, BOX)
    boxed = one(read_all(coco_refs, path, tmp_path, tasks=("refer",), point_share=0))
    assert boxed.messages[1].parts == (TextPart("two woman"),) and regions(boxed, 0) == [Box(10, 20, 40.5, 50)]
    (point,) = regions(one(read_all(coco_refs, path, tmp_path, tasks=("refer",), point_share=1)), 0)
    assert isinstance(point, Point) and 10 <= point.x < 40.5 and 20 <= point.y < 50


def test_wordings_rotate_and_are_the_same_again(tmp_path: Path):
    images = [{**IMAGE, "id": k, "caption": f"thing {k}"} for k in range(40)]
    boxes = [{"image_id": k, "bbox": BOX} for k in range(40)]
    path = write_json(tmp_path / "a.json", {"images": images, "annotations": boxes})
    read = samples(read_all(coco_refs, path, tmp_path))
    asked = {sample.messages[0].text.replace(f"thing {k}", "") for k, sample in enumerate(read)}
    assert len(asked) > 5 and read == read_all(coco_refs, path, tmp_path)
    assert read != read_all(coco_refs, path, tmp_path, seed=1)


def test_phrases_of_a_caption_get_their_own_boxes(tmp_path: Path):
    caption = "a man with a dog near trees"
    image = {**IMAGE, "id": 1, "caption": caption, "sentence_id": 3}
    image["tokens_positive_eval"] = [[[0, 5]], [[11, 16]], [[22, 27]]]
    boxes = [
        {"image_id": 1, "bbox": [1, 2, 10, 20], "tokens_positive": [[0, 5]]},
        {"image_id": 1, "bbox": [30, 2, 10, 20], "tokens_positive": [[11, 16]]},
        {"image_id": 1, "bbox": [50, 2, 10, 20], "tokens_positive": [[11, 16]]},
    ]
    path = write_json(tmp_path / "final_flickr_mergedGT_train.json", {"images": [image], "annotations": boxes})
    sample = one(read_all(coco_refs, path, tmp_path))
    assert "a man and a dog" in sample.messages[0].text and "trees" not in sample.messages[0].text
    assert sample.messages[1].text == "a man , a dog , "
    assert regions(sample, 1) == [Box(1, 2, 11, 22), Box(30, 2, 40, 22), Box(50, 2, 60, 22)]


# refer-pickle


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_every_sentence_of_a_refer_pickle_is_a_row_with_cocos_file_name(tmp_path: Path, protocol: int):
    path = refer(tmp_path, [ref(), ref(ref_id=2, split="testA")], protocol)
    read = samples(read_all(coco_refs, path, tmp_path, mode="refer-pickle", split="train", tasks=("ground",)))
    assert [sample.messages[1].text for sample in read] == ["a ", "b "]
    assert read[0].images[0].media.path == str(tmp_path / IMAGE["file_name"])
    assert read[1].meta == {"ref_id": 1, "ann_id": 77, "sent_id": 1, "split": "train"}
    assert len(read_all(coco_refs, path, tmp_path, mode="refer-pickle")) == 4


def test_a_pickle_that_names_code_is_refused_without_running_it(tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    path = refer(tmp_path, [])
    path.write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(ConfigError, match="plain values only"):
        read_all(coco_refs, path, tmp_path, mode="refer-pickle")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ref(image_id=6), "image_id 6 is not in instances.json"),
        (ref(ann_id=1), "ann_id 1 is not in instances.json"),
        (ref(sentences=[{"raw": "a"}]), "no text 'sent'"),
        (ref(sentences=None), "no text 'sent'"),
        (ref(sentences=[{"sent": " "}]), "no expression"),
    ],
)
def test_a_broken_ref_is_refused_by_its_number(tmp_path: Path, row: dict[str, Any], reason: str):
    told = read_all(coco_refs, refer(tmp_path, [row]), tmp_path, mode="refer-pickle")[0]
    assert isinstance(told, str) and reason in told and "refs(unc).p:ref 1 sentence 0" in told


def test_an_unknown_split_lists_the_known_ones(tmp_path: Path):
    with pytest.raises(ConfigError, match="splits: testB, train"):
        read_all(coco_refs, refer(tmp_path, [ref(), ref(split="testB")]), tmp_path, mode="refer-pickle", split="test")


def test_a_refer_pickle_without_its_instances_says_which_file_is_missing(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"coco\.json"):
        read_all(coco_refs, refer(tmp_path, [ref()]), tmp_path, mode="refer-pickle", instances="coco.json")


# coco-instances


def test_objects_are_detected_by_kind_and_segmentations_are_not_kept(tmp_path: Path):
    path = instances(tmp_path, (1, [10, 20, 30, 30]), (3, [1, 2, 3, 4]), (3, [50, 5, 10, 10]))
    sample = one(read_all(coco_refs, path, tmp_path, mode="coco-instances", tasks=("detect",)))
    assert len(sample.messages) == 4 and len(sample.images) == 1
    said = {message.text.split(" ,")[0].strip(): regions(sample, k) for k, message in enumerate(sample.messages)}
    assert said["dog"] == [Box(10, 20, 40, 50)]
    assert said["traffic light"] == [Box(1, 2, 4, 6), Box(50, 5, 60, 15)]
    assert sample.meta == {"image_id": 5}
    (kept,) = tmp_path.glob("*.rows")
    assert b"segmentation" not in kept.read_bytes()


def test_one_of_several_is_never_asked_for_by_name(tmp_path: Path):
    path = instances(tmp_path, (1, [10, 20, 30, 30]), (2, [1, 2, 3, 4]), (2, [50, 5, 10, 10]))
    sample = one(read_all(coco_refs, path, tmp_path, mode="coco-instances", tasks=("ground",)))
    assert len(sample.messages) == 2 and "the dog" in sample.messages[0].text


def test_a_region_is_named_and_turns_are_limited(tmp_path: Path):
    path = instances(tmp_path, (1, BOX), (2, [1, 2, 3, 4]), (3, [50, 5, 10, 10]))
    options = {"mode": "coco-instances", "tasks": ("refer",), "point_share": 0}
    sample = one(read_all(coco_refs, path, tmp_path, turns=2, **options))
    assert len(sample.messages) == 4
    named = {sample.messages[k + 1].text: regions(sample, k)[0] for k in (0, 2)}
    boxes = {"dog": Box(10, 20, 40.5, 50), "cat": Box(1, 2, 4, 6), "traffic light": Box(50, 5, 60, 15)}
    assert named.items() < boxes.items()


def test_crowds_and_what_lvis_did_not_finish_are_not_asked_for(tmp_path: Path):
    path = instances(tmp_path, (1, BOX), (2, [1, 2, 3, 4]), (3, [50, 5, 10, 10]), not_exhaustive_category_ids=[2])
    coco = json.loads(path.read_text())
    coco["annotations"][2]["iscrowd"] = 1
    write_json(path, coco)
    sample = one(read_all(coco_refs, path, tmp_path, mode="coco-instances", tasks=("ground", "detect")))
    assert len(sample.messages) == 2 and sample.messages[1].text == "dog "


def test_lvis_names_and_addresses_become_words_and_file_names(tmp_path: Path):
    kinds = [
        {"id": 1, "name": "bow_(weapon)", "synonyms": ["bow"], "frequency": "r"},
        {"id": 2, "name": "bow_(decorative_ribbons)"},
        {"id": 3, "name": "mouse_(computer_equipment)"},
    ]
    path = instances(tmp_path, (1, BOX), (2, [1, 2, 3, 4]), (3, [50, 5, 10, 10]), categories=kinds)
    coco = json.loads(path.read_text())
    del coco["images"][0]["file_name"]
    coco["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/000000000005.jpg"
    write_json(path, coco)
    sample = one(read_all(coco_refs, path, tmp_path, mode="coco-instances", tasks=("refer",), images="coco"))
    assert sample.images[0].media.path == str(tmp_path / "coco/val2017/000000000005.jpg")
    assert {message.text for message in sample.messages[1::2]} == {"bow (weapon)", "bow (decorative ribbons)", "mouse"}


def test_captions_are_documents_or_answers(tmp_path: Path):
    texts = ["A dog \n runs.", "A dog.", " "]
    annotations = [{"id": k, "image_id": 5, "caption": text} for k, text in enumerate(texts)]
    path = write_json(tmp_path / "captions_train2014.json", {"images": [IMAGE], "annotations": annotations})
    options: dict[str, Any] = {"mode": "coco-instances", "tasks": ("caption",)}
    asked = one(read_all(coco_refs, path, tmp_path, Category.GENERAL, **options))
    assert asked.messages[1].text in ("A dog runs.", "A dog.") and asked.meta["captions"] == texts
    told = one(read_all(coco_refs, path, tmp_path, Category.CAPTION, **options))
    assert told.messages[0].role is Role.DOCUMENT and isinstance(told.messages[0].parts[0], ImagePart)
    write_json(path, {"images": [IMAGE], "annotations": [{"image_id": 5, "caption": " "}]})
    assert "without a caption" in refusal(read_all(coco_refs, path, tmp_path, **options))


# boxes


def test_boxes_turn_with_an_exif_orientation(tmp_path: Path):
    save_picture(tmp_path / IMAGE["file_name"], orientation=6)
    path = mdetr(tmp_path, [0, 0, 30, 20])
    sample = one(read_all(coco_refs, path, tmp_path, tasks=("ground",)))
    assert (sample.images[0].width, sample.images[0].height) == (60, 90)
    assert regions(sample) == [Box(40, 0, 60, 30)], "top left of what is stored is top right of what is seen"
    stored = one(read_all(coco_refs, path, tmp_path, tasks=("ground",), exif=False))
    assert regions(stored) == [Box(0, 0, 30, 20)]


def test_boxes_that_leave_the_picture_are_cut_or_refused_as_told(tmp_path: Path):
    path = mdetr(tmp_path, [-5, 50, 50, 20])
    assert regions(one(read_all(coco_refs, path, tmp_path, tasks=("ground",)))) == [Box(0, 50, 45, 60)]
    assert "outside the picture of 90 x 60" in refusal(read_all(coco_refs, path, tmp_path, outside="refuse"))


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 20, 0, 30], "has no area"),
        ([10, 20, -3, 30], "has no area"),
        (["10", "20", "30", "30"], "four numbers"),
        ([10, 20, 30], "four numbers"),
        (None, "four numbers"),
        ([95, 20, 30, 30], "outside the picture of 90 x 60"),
        ([10, float("nan"), 30, 30], "box"),
        ([10, 20, True, 30], "four numbers"),
    ],
)
@pytest.mark.parametrize("outside", ["clip", "refuse"])
def test_boxes_that_are_none_are_refused(tmp_path: Path, box: Any, reason: str, outside: str):
    told = refusal(read_all(coco_refs, mdetr(tmp_path, box), tmp_path, outside=outside))
    assert reason in told and "finetune_refcocog_train.json:images[0]" in told


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"caption": ""}, "no expression"),
        ({"width": None}, "whole pixels above 0"),
        ({"width": 90.0}, "whole pixels above 0"),
        ({"file_name": "../a.jpg"}, "stay inside"),
        ({"file_name": None}, "is not a file name"),
        ({"id": 8}, "has no box"),
    ],
)
def test_broken_expressions_are_refused(tmp_path: Path, image: dict[str, Any], reason: str):
    assert reason in refusal(read_all(coco_refs, mdetr(tmp_path, BOX, **image), tmp_path))


def test_an_annotated_size_that_is_not_the_pictures_is_refused(tmp_path: Path):
    save_picture(tmp_path / IMAGE["file_name"], 80, 60)
    assert "80 x 60 stored pixels, but is annotated at 90 x 60" in refusal(
        read_all(coco_refs, mdetr(tmp_path, BOX), tmp_path)
    )


def test_images_with_one_id_are_refused_for_their_boxes_are_mixed_up(tmp_path: Path):
    image = {**IMAGE, "caption": "a"}
    path = write_json(tmp_path / "a.json", {"images": [image, image], "annotations": [{"image_id": 5, "bbox": BOX}]})
    assert all("2 images have the id 5" in str(told) for told in read_all(coco_refs, path, tmp_path))


def test_nothing_to_ask_says_so(tmp_path: Path):
    told = refusal(read_all(coco_refs, mdetr(tmp_path, BOX), tmp_path, tasks=("detect",)))
    assert "nothing to ask" in told and "detect" in told
    path = instances(tmp_path)
    assert "0 objects" in refusal(read_all(coco_refs, path, tmp_path, mode="coco-instances"))
    path = instances(tmp_path, (9, BOX))
    assert "category_id" in refusal(read_all(coco_refs, path, tmp_path, mode="coco-instances"))


@pytest.mark.parametrize(("value", "reason"), [([], "side by side"), ({"images": []}, "side by side")])
def test_a_file_of_another_shape_is_refused_whole(tmp_path: Path, value: Any, reason: str):
    with pytest.raises(ConfigError, match=reason):
        read_all(coco_refs, write_json(tmp_path / "a.json", value), tmp_path)


def test_a_changed_file_is_joined_again_and_a_read_only_folder_is_no_obstacle(tmp_path: Path, monkeypatch):
    path = mdetr(tmp_path, BOX)
    assert len(read_all(coco_refs, path, tmp_path)) == 1
    images = [{**IMAGE, "id": k, "caption": "dog"} for k in range(3)]
    write_json(path, {"images": images, "annotations": [{"image_id": k, "bbox": BOX} for k in range(3)]})
    assert len(samples(read_all(coco_refs, path, tmp_path))) == 3

    def refuse(*_: object):
        raise OSError("read-only")

    monkeypatch.setattr("mm15.datasets._joined.open_atomic", refuse)
    write_json(path, {"images": images[:2], "annotations": [{"image_id": k, "bbox": BOX} for k in range(2)]})
    with pytest.warns(UserWarning, match="kept in memory"):
        assert len(samples(read_all(coco_refs, path, tmp_path))) == 2
