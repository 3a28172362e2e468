"""Scenes: same seed same bytes, boxes on what they name, answers that follow from the objects, balance."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mm15.base.types import Box, Category, Point, RegionPart, Role
from mm15.build import scenes
from mm15.build.canvas import COLORS
from mm15.build.materials import SPLITS, Materials, Split
from mm15.datasets import ferret_json, llava
from mm15.datasets._context import RowContext

MATERIALS = Materials()
MADE: list[tuple[str, Split]] = [
    (kind, split) for kind in scenes.KINDS for split in SPLITS if not (split == "train" and kind.endswith("_unseen"))
]

ROWS = {"general": 112, "refer_ground": 112}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes")
    for kind, split in MADE:
        scenes.build(out / split, split, ROWS.get(kind, 42), 5, MATERIALS, kind)
    scenes.build(out / "train", "train", 64, 5, MATERIALS, "general", "talk", turns=3)
    scenes.build(out / "train", "train", 63, 5, MATERIALS, "refer_ground", "talk_boxes", turns=2)
    return out


def rows(built, name, split="train"):
    return [json.loads(line) for line in (built / split / f"{name}.jsonl").read_text().splitlines()]


def turns(row):
    said = [turn["value"] for turn in row["conversations"]]
    return [
        (question.removeprefix("<image>").strip(), answer)
        for question, answer in zip(said[::2], said[1::2], strict=True)
    ]


def label(entry):
    return f"{entry['color']} {entry['name']}" if "color" in entry else entry["name"]


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path, built):
    scenes.build(tmp_path / "a", "train", 20, 5, MATERIALS, "refer_ground", workers=1)
    scenes.build(tmp_path / "b", "train", 20, 6, MATERIALS, "refer_ground", workers=1)
    first = (built / "train" / "scenes_refer_ground.jsonl").read_text().splitlines()[:20]
    assert (tmp_path / "a" / "scenes_refer_ground.jsonl").read_text().splitlines() == first
    assert (tmp_path / "b" / "scenes_refer_ground.jsonl").read_text().splitlines() != first
    for index in range(20):
        name = f"images/scenes_refer_ground/{index:06d}.png"
        assert (tmp_path / "a" / name).read_bytes() == (built / "train" / name).read_bytes()


def test_splits_differ_in_rows_and_only_heldout_shows_unseen_names(built):
    for kind, split in MADE:
        shown = {entry["name"] for row in rows(built, f"scenes_{kind}", split) for entry in row["objects"]}
        assert bool(shown & set(MATERIALS.unseen_names)) == kind.endswith("_unseen")
    assert rows(built, "scenes_general")[0] != rows(built, "scenes_general", "heldout")[0]
    with pytest.raises(ValueError, match="must never see"):
        scenes.build(built, "train", 1, 0, MATERIALS, "refer_unseen")
    with pytest.raises(ValueError, match="known: caption"):
        scenes.build(built, "train", 1, 0, MATERIALS, "captions")


@pytest.mark.parametrize(("kind", "split"), MADE)
def test_pictures_have_the_size_of_their_row_and_prompts_are_short(built, kind, split):
    for row in rows(built, f"scenes_{kind}", split):
        assert Image.open(built / split / row["image"]).size == (row["width"], row["height"])
        assert row["width"] != row["height"] and 48 <= max(row["width"], row["height"]) <= 64
        assert 1 <= len(row["objects"]) <= 4
        for entry in row["objects"]:
            x1, y1, x2, y2 = entry["box"]
            assert 0 <= x1 < x2 <= row["width"] and 0 <= y1 < y2 <= row["height"]
        assert all(len(question) <= 40 for question, _ in turns(row))


def test_boxes_lie_on_the_shapes_they_name(built):
    checked = 0
    for row in rows(built, "scenes_caption"):
        pixels = np.asarray(Image.open(built / "train" / row["image"]), dtype=int)
        for entry in row["objects"]:
            if "color" in entry and entry["name"] != "star":
                x1, y1, x2, y2 = entry["box"]
                center = pixels[(y1 + y2) // 2, (x1 + x2) // 2]
                checked += 1
                assert np.abs(center - COLORS[entry["color"]]).max() <= 2
    assert checked > 15


def test_captions_name_everything_from_left_to_right(built):
    for row in rows(built, "scenes_caption"):
        centers = [(entry["box"][0] + entry["box"][2]) / 2 for entry in row["objects"]]
        assert centers == sorted(centers)
        ((question, caption),) = turns(row)
        assert question == ""
        spoken = caption.replace(" and ", ", ").split(", ")
        assert [phrase.partition(" ")[2] for phrase in spoken] == [label(entry) for entry in row["objects"]]


def check_answer(row, question, answer):
    entries = row["objects"]
    named = [entry["name"] for entry in entries if "color" not in entry]
    shapes = {entry["name"]: entry["color"] for entry in entries if "color" in entry}
    words = question.rstrip("?").split()
    if question == "What is this?":
        assert named == [answer] and not shapes
    elif question.startswith("What color"):
        assert shapes[words[-1]] == answer
    elif question.startswith("Which shape"):
        assert shapes[answer] == words[-1] and list(shapes.values()).count(words[-1]) == 1
    elif question.startswith("Is there"):
        assert (words[-1] in named) == (answer == "yes")
    elif question.startswith("Is the"):
        assert (shapes[words[2]] == words[3]) == (answer == "yes")
    elif question.startswith("How many"):
        assert len(entries) == int(answer)
    else:
        axis, sign = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}[words[-1]]
        first, second, *_ = sorted(entries, key=lambda entry: sign * (entry["box"][axis] + entry["box"][axis + 2]))
        assert first["name"] == answer and "color" not in first
        gap = abs(first["box"][axis] + first["box"][axis + 2] - second["box"][axis] - second["box"][axis + 2]) / 2
        assert gap >= 0.25 * (row["width"], row["height"])[axis]


@pytest.mark.parametrize(
    ("name", "split"), [("scenes_general", "train"), ("scenes_general", "heldout"), ("talk", "train")]
)
def test_general_answers_follow_from_the_objects(built, name, split):
    for row in rows(built, name, split):
        assert len(turns(row)) == 1 or name == "talk"
        for question, answer in turns(row):
            assert len(answer.split()) == 1
            check_answer(row, question, answer)
    if name == "talk":
        # Nothing is asked about twice, so a scene of few things may have fewer questions than the three allowed.
        for row in rows(built, name):
            assert min(3, len(row["objects"])) <= len(turns(row)) <= 3


def test_no_question_can_be_answered_from_another_one(built):
    several = 0
    for row in rows(built, "talk_boxes"):
        told = [tuple(box) for boxes in row["box_x1y1x2y2"] for box in boxes]
        assert len(told) == len(set(told))
        several += len(turns(row)) > 1
    for row in rows(built, "talk"):
        asked = [question for question, _ in turns(row)]
        assert len(asked) == len(set(asked))
        for entry in row["objects"]:
            about = [
                words
                for words in (f"{question} {answer}".replace("?", "").split() for question, answer in turns(row))
                if entry["name"] in words or {"shape", entry.get("color")} <= set(words)
            ]
            assert len(about) <= 1, (entry, about)
        several += len(turns(row)) > 1
    assert several > 100


def test_tasks_and_answers_are_balanced(built):
    made = rows(built, "scenes_general", "heldout")
    tasks = Counter(row["task"] for row in made)
    assert len(tasks) == 8 and len(set(tasks.values())) == 1
    for task in ("exists", "is-color"):
        answers = Counter(turns(row)[0][1] for row in made if row["task"] == task)
        assert answers["yes"] == answers["no"]
    assert len(set(Counter(turns(row)[0][1] for row in made if row["task"] == "count").values())) <= 2
    asked = Counter(turns(row)[0][0] for row in made if row["task"] == "left-right")
    assert asked["What is on the left?"] == asked["What is on the right?"] == 7


@pytest.mark.parametrize("name", ["scenes_refer_ground", "scenes_refer", "scenes_ground", "talk_boxes"])
def test_boxes_of_questions_and_answers_are_those_of_the_objects(built, name):
    for row in rows(built, name):
        places = {(label(entry), tuple(entry["box"])) for entry in row["objects"]}
        asked, answered = row["box_x1y1x2y2"][::2], row["box_x1y1x2y2"][1::2]
        for (question, answer), given, found in zip(turns(row), asked, answered, strict=True):
            if given:
                assert question == "What is at <bbox_location0>?" and (answer, tuple(given[0])) in places
            else:
                parts = [part.rpartition(" ") for part in answer.split(", ")]
                assert [part[2] for part in parts] == [f"<bbox_location{k}>" for k in range(len(found))]
                assert {(part[0], tuple(box)) for part, box in zip(parts, found, strict=True)} <= places
            if question.startswith("Where"):
                wanted = question.removeprefix("Where is the ").rstrip("?")
                assert [label(entry) for entry in row["objects"]].count(wanted) == 1
            elif question == "Detect all.":
                assert len(found) == len(row["objects"])
            elif question.startswith("Find all"):
                wanted = question.removeprefix("Find all: ").rstrip(".")
                assert len(found) == [label(entry) for entry in row["objects"]].count(wanted)
    tasks = Counter(row["task"] for row in rows(built, name))
    if name == "scenes_refer_ground":
        assert tasks == {"ground": 42, "refer": 42, "detect": 14, "find-all": 14}


def test_unseen_rows_ask_about_the_unseen_name(built):
    for row in rows(built, "scenes_ground_unseen", "heldout"):
        assert turns(row)[0][1].split()[0] in MATERIALS.unseen_names
    assert {turns(row)[0][1] for row in rows(built, "scenes_refer_unseen", "heldout")} == set(MATERIALS.unseen_names)


def test_rows_are_read_by_the_formats_they_claim(built):
    context = RowContext("scenes", Category.CAPTION, "k", str(built / "train"))
    (sample,) = llava.to_samples(rows(built, "scenes_caption")[0], context)
    assert [message.role for message in sample.messages] == [Role.DOCUMENT]
    regions = []
    for index, row in enumerate(rows(built, "scenes_refer")):
        context = RowContext("scenes", Category.REFER_GROUND, f"k/{index}", str(built / "train"))
        (sample,) = ferret_json.to_samples(row, context)
        regions += [
            part.region for message in sample.messages for part in message.parts if isinstance(part, RegionPart)
        ]
    kinds = Counter(type(region) for region in regions)
    assert kinds[Point] + kinds[Box] == 42 and 6 <= kinds[Point] <= 24
