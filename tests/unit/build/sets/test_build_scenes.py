"""Scenes: boxes and masks lie on what they name, answers follow from what lies there, odd files are named."""

import json
import random
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import DataError
from mm15.base.types import Box, Point
from mm15.build._composed import CHANGES, Composed, expressions, plural
from mm15.build.canvas import Placed, Thing
from mm15.datasets._rle import point_in_mask, run_lengths
from sets_fixture import build, dropped, rows, said, samples, write_cut_out, write_photo

COLORS = {
    "red disc": (220, 20, 20),
    "green disc": (20, 200, 20),
    "blue disc": (20, 20, 220),
    "yellow disc": (230, 220, 10),
}
GRAY = (128, 128, 128)


@pytest.fixture
def stock(tmp_path):
    """Ellipses of one color per name, on gray photographs."""
    folder = tmp_path / "in"
    for name, color in COLORS.items():
        for number in range(3):
            write_cut_out(folder / name.replace(" ", "_") / f"{number}.png", color, (4, 4 + number, 54 - number, 36))
    write_photo(folder / "photos" / "gray.jpg", GRAY)
    write_photo(folder / "photos" / "gray-two.jpg", (126, 126, 126), (200, 260))
    return folder


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def color_mask(pixels, name):
    return np.abs(pixels - COLORS[name]).max(axis=2) < 60


def test_boxes_and_masks_cover_the_pixels_of_what_they_name(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=30, size=300)
    coco = json.loads((tmp_path / "d" / "objects.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    assert sorted(names.values()) == sorted(COLORS)
    for image in coco["images"]:
        pixels = pixels_of(tmp_path / "d" / image["file_name"])
        assert pixels.shape[:2] == (image["height"], image["width"]) and max(pixels.shape) == 300
        found = {name: np.zeros(pixels.shape[:2], bool) for name in COLORS}
        for one in coco["annotations"]:
            if one["image_id"] != image["id"]:
                continue
            x, y, w, h = one["bbox"]
            runs = run_lengths(one["segmentation"]["counts"])
            mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(image["width"], image["height"]).T
            assert one["segmentation"]["size"] == [image["height"], image["width"]] and mask.sum() == one["area"]
            ys, xs = np.nonzero(mask)
            assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == [x, y, x + w, y + h]
            # Half-transparent edges and JPEG aside, the mask has the color of its name.
            right = color_mask(pixels, names[one["category_id"]])
            assert (right & mask).sum() > 0.85 * mask.sum()
            found[names[one["category_id"]]] |= mask
        for name, masks in found.items():
            grown = masks.copy()
            for axis in (0, 1):
                for step in (-2, -1, 1, 2):
                    grown |= np.roll(masks, step, axis)
            assert not (color_mask(pixels, name) & ~grown).any(), "nothing is there that is not annotated"


def test_every_format_points_at_what_it_names(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=40, size=300)
    read = samples(tmp_path / "d")
    boxes = points = 0
    for name in ("refer", "refer-ground", "objects"):
        for sample in read[name]:
            pixels = pixels_of(sample.images[0].media.path)
            for asked, answered in zip(sample.messages[::2], sample.messages[1::2], strict=True):
                regions = [part.region for m in (asked, answered) for part in m.parts if hasattr(part, "region")]
                told = [color for color in COLORS if color in asked.text + answered.text]
                if len({*told}) != 1 or not regions:
                    continue
                for region in regions:
                    if isinstance(region, Point):
                        points += 1
                        if name == "refer-ground":  # it has masks
                            assert color_mask(pixels, told[0])[int(region.y), int(region.x)]
                    elif isinstance(region, Box):
                        boxes += 1
                        inside = color_mask(pixels, told[0])[
                            int(region.y1) : int(region.y2), int(region.x1) : int(region.x2)
                        ]
                        assert inside.mean() > 0.5
    assert boxes > 60 and points > 5


def test_numbers_presence_and_places_follow_from_the_objects(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=60, formats=("llava",))
    kinds = Counter()
    for row in rows(tmp_path / "d" / "general.jsonl"):
        counts = Counter(one["name"] for one in row["objects"])
        turns = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"]]
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            if match := re.fullmatch(r"How many (.+) are there\?", question):
                assert answer == str(sum(n for name, n in counts.items() if plural(name) == match[1]))
                kinds["count", answer == "0"] += 1
            elif match := re.fullmatch(r"Is there an? (.+) in the picture\?", question):
                assert answer == ("yes" if match[1] in counts else "no")
                kinds["there", answer] += 1
            elif match := re.fullmatch(
                r"Is the (.+) (to the left of|to the right of|above|below) the (.+)\?", question
            ):
                (a,), (b,) = ([o["box"] for o in row["objects"] if o["name"] == name] for name in (match[1], match[3]))
                axis = 0 if "the" in match[2] else 1
                before = a[axis] + a[axis + 2] < b[axis] + b[axis + 2]
                assert answer == ("yes" if before == (match[2] in ("to the left of", "above")) else "no")
                kinds["where", answer] += 1
            else:
                assert answer == str(len(counts) if "kinds" in question else len(row["objects"]))
    assert all(kinds[kind] for kind in (("count", False), ("count", True), ("there", "yes"), ("there", "no")))
    assert kinds["where", "yes"] and kinds["where", "no"]


def test_expressions_fit_one_thing_only(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=60, formats=("refer", "coco"))
    refer = json.loads((tmp_path / "d" / "refer.json").read_text())
    objects = json.loads((tmp_path / "d" / "objects.json").read_text())
    names = {one["id"]: one["name"] for one in objects["categories"]}
    assert len(refer["images"]) == 60 and {one["dataset_name"] for one in refer["images"]} == {"scenes"}
    words = Counter()
    for image, annotation in zip(refer["images"], refer["annotations"], strict=True):
        assert annotation["image_id"] == image["id"]
        there = [one for one in objects["annotations"] if one["image_id"] == image["original_id"]]
        name = min((name for name in COLORS if name in image["caption"]), key=image["caption"].find)
        like = [one["bbox"] for one in there if names[one["category_id"]] == name]
        word = image["caption"].removeprefix("the ").partition(" ")[0]
        box = annotation["bbox"]
        assert box in like
        if image["caption"] == f"the {name}":
            assert len(like) == 1
        elif word.startswith(("left", "right", "top", "bottom")):
            axis = 0 if word.startswith(("left", "right")) else 1
            middles = sorted(one[axis] + one[axis + 2] / 2 for one in like)
            assert box[axis] + box[axis + 2] / 2 == middles[0 if word.startswith(("left", "top")) else -1]
            words["place"] += 1
        elif word.startswith(("larg", "small")):
            areas = sorted(one[2] * one[3] for one in like)
            assert box[2] * box[3] == areas[-1 if word.startswith("larg") else 0]
    assert words["place"]


def test_differences_say_what_changed(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=25, formats=("llava",))
    read = rows(tmp_path / "d" / "differences.jsonl")
    assert Counter(row["task"] for row in read) == dict.fromkeys(CHANGES, 5)
    for row in read:
        first, second = (Counter(one["name"] for one in side) for side in row["objects"])
        told = row["conversations"][1]["value"]
        more, less = second - first, first - second
        if row["task"] == "added":
            assert told == f"There is now a {next(iter(more))}." and not less and more.total() == 1
        elif row["task"] == "removed":
            assert told == f"The {next(iter(less))} is gone." and not more and less.total() == 1
        elif row["task"] == "replaced":
            assert told == f"The {next(iter(less))} has become a {next(iter(more))}."
        else:
            assert not more and not less
            assert (row["objects"][0] == row["objects"][1]) == (row["task"] == "same")
        pictures = [pixels_of(tmp_path / "d" / name) for name in row["image"]]
        assert (np.abs(pictures[0] - pictures[1]).max() > 60) == (row["task"] != "same")


def test_files_that_are_no_cut_outs_are_named(stock, tmp_path):
    Image.new("RGB", (60, 40), (9, 9, 9)).save(stock / "red_disc" / "solid.png")
    Image.new("RGBA", (60, 40), (9, 9, 9, 0)).save(stock / "red_disc" / "nothing.png")
    (stock / "red_disc" / "cut.png").write_bytes((stock / "red_disc" / "0.png").read_bytes()[:60])
    (stock / "photos" / "bad.jpg").write_bytes(b"not a picture")
    build("scenes", tmp_path / "d", stock, n=2)
    found = dropped(tmp_path / "d")
    assert found.pop("no transparent background") == [str(stock / "red_disc" / "solid.png")]
    assert found.pop("nothing to be seen: all of it is transparent") == [str(stock / "red_disc" / "nothing.png")]
    assert sorted(address for addresses in found.values() for address in addresses) == [
        str(stock / "photos" / "bad.jpg"),
        str(stock / "red_disc" / "cut.png"),
    ]


def test_stamps_are_named_by_the_text_beside_them(tmp_path):
    for number, (name, color) in enumerate(COLORS.items()):
        write_cut_out(tmp_path / "in" / "stamps" / f"s{number}.png", color)
        (tmp_path / "in" / "stamps" / f"s{number}.txt").write_text(f"A {name}.\nde.utf8=Eine Scheibe.\n")
    write_photo(tmp_path / "in" / "photos" / "gray.jpg", GRAY)
    build("scenes", tmp_path / "d", tmp_path / "in", n=3, formats=("coco",))
    assert {one["name"] for one in json.loads((tmp_path / "d" / "objects.json").read_text())["categories"]} == set(
        COLORS
    )


def test_two_names_are_too_few(tmp_path):
    for name in ("one", "two"):
        write_cut_out(tmp_path / "in" / name / "a.png", (1, 2, ord(name[0])))
    with pytest.raises(DataError, match="2 names with cut-outs on the train side, three are needed"):
        build("scenes", tmp_path / "d", tmp_path / "in")


def test_no_picture_is_on_both_sides(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=6, heldout=0.34, formats=("ferret",))
    for side in ("", "heldout"):
        assert rows(tmp_path / "d" / side / "refer-ground.jsonl")
    images = [{p.read_bytes() for p in (tmp_path / "d" / side / "images").iterdir()} for side in ("", "heldout")]
    assert not images[0] & images[1]


def test_what_a_photograph_shows_is_not_called_absent():
    scene = Composed(Image.new("RGB", (90, 60)), (), "clock-blur")
    assert scene.absent(["clock", "dog", "wall clock"]) == ["dog"]


def test_plurals_and_expressions_of_copies():
    assert [plural(word) for word in ("bus", "cherry", "toy", "fish", "mouse", "red fox", "dog")] == [
        "buses", "cherries", "toys", "fish", "mice", "red foxes", "dogs"
    ]  # fmt: skip
    dog = Thing("dog", Image.new("RGBA", (10, 10)))
    boxes = ((0, 0, 20, 20), (40, 0, 70, 30), (80, 5, 90, 15))
    scene = Composed(Image.new("RGB", (90, 60)), tuple(Placed(dog, box) for box in boxes))
    found = {phrase: item.box for phrase, item in expressions(scene)}
    assert found == {
        "the leftmost dog": boxes[0],
        "the rightmost dog": boxes[2],
        "the largest dog": boxes[1],
        "the smallest dog": boxes[2],
    }


def test_points_of_the_masks_are_inside(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=6, formats=("ferret",))
    checked = 0
    for row in rows(tmp_path / "d" / "refer-ground.jsonl"):
        for boxes, masks in zip(row["box_x1y1x2y2"], row["masks"], strict=True):
            for box, mask in zip(boxes, masks, strict=False):
                x, y = point_in_mask(mask, row["image_w"], row["image_h"], random.Random(0))
                assert box[0] <= x <= box[2] and box[1] <= y <= box[3]
                checked += 1
    assert checked >= 4


def test_captions_name_everything(stock, tmp_path):
    build("scenes", tmp_path / "d", stock, n=10, formats=("coco",))
    coco = json.loads((tmp_path / "d" / "objects.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    for number, sample in enumerate(samples(tmp_path / "d")["captions"], 1):
        counts = Counter(names[one["category_id"]] for one in coco["annotations"] if one["image_id"] == number)
        (text,) = said(sample)
        for name, count in counts.items():
            assert (f"a {name}" if count == 1 else plural(name)) in text.lower()
