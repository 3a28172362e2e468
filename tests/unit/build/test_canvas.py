"""Stickers, layouts and the writing of rows."""

import json

import numpy as np
import pytest
from PIL import Image

from mm15.base.rng import python_rng
from mm15.build.canvas import (
    COLORS,
    MAX_OVERLAP,
    SHAPES,
    VISIBLE,
    Placed,
    build_rows,
    layout,
    listing,
    named_thing,
    overlap,
    paste,
    photo_crop,
    random_size,
    shape_thing,
    trimmed,
    with_article,
)
from mm15.build.materials import Materials
from mm15.dist.map import Engine

MATERIALS = Materials()


def things(rng, count=3):
    named = [named_thing(MATERIALS, name, "train", rng, (20, 40)) for name in rng.sample(MATERIALS.names, count)]
    return [*named, shape_thing(rng.choice(SHAPES), rng.choice(list(COLORS)), 27)]


def test_a_box_is_exactly_what_can_be_seen_of_a_sticker_on_a_blank_page():
    for index in range(30):
        rng = python_rng(1, index)
        for thing in things(rng):
            (item,) = layout([thing], 120, 90, rng) or []
            alpha = Image.new("L", (120, 90))
            alpha.paste(thing.sticker.getchannel("A"), item.box)
            rows, columns = np.nonzero(np.asarray(alpha) >= VISIBLE)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == item.box
            changed = np.asarray(paste(Image.new("RGB", (120, 90), (1, 250, 3)), [item])) != (1, 250, 3)
            rows, columns = np.nonzero(changed.any(axis=2))
            assert item.box[0] <= columns.min() and columns.max() < item.box[2]
            assert item.box[1] <= rows.min() and rows.max() < item.box[3]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_fill_their_side_and_have_their_color(shape):
    for color, rgb in COLORS.items():
        thing = shape_thing(shape, color, 31)
        assert max(thing.sticker.size) >= 29 and thing.label == f"{color} {shape}"
        pixels = np.asarray(thing.sticker)
        solid = pixels[pixels[..., 3] == 255][:, :3]
        assert (np.abs(solid.astype(int) - rgb).max(axis=1) == 0).mean() > 0.5


def test_layouts_stay_inside_hardly_overlap_and_run_left_to_right():
    found = 0
    for index in range(40):
        rng = python_rng(2, index)
        placed = layout(things(rng), 118, 91, rng)
        if placed is None:
            continue
        found += 1
        assert [item.center for item in placed] == sorted(item.center for item in placed)
        assert all(0 <= x1 < x2 <= 118 and 0 <= y1 < y2 <= 91 for x1, y1, x2, y2 in (item.box for item in placed))
        for k, item in enumerate(placed):
            assert all(overlap(item.box, other.box) <= MAX_OVERLAP for other in placed[:k])
    assert found > 20


def test_a_thing_too_large_has_no_layout():
    assert layout([shape_thing("star", "red", 50)], 60, 40, python_rng(0)) is None


def test_overlap_is_a_part_of_the_smaller_box():
    assert overlap((0, 0, 10, 10), (5, 0, 10, 4)) == 1.0
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
    assert overlap((0, 0, 10, 10), (8, 5, 12, 10)) == 0.5


def test_an_invisible_sticker_is_refused():
    with pytest.raises(ValueError, match="no visible pixel"):
        trimmed(Image.new("RGBA", (9, 7), (255, 0, 0, VISIBLE - 1)))


def test_sizes_are_never_square_and_crops_have_the_size_asked_for():
    rng = python_rng(3)
    for _ in range(200):
        width, height = random_size(rng, 64, 128)
        assert width != height and 64 <= max(width, height) <= 128
        assert 0.84 <= min(width, height) / max(width, height) <= 0.98
    assert photo_crop(MATERIALS.photos("train"), 83, 61, rng).size == (83, 61)


def test_words():
    assert with_article("orange heart") == "an orange heart" and with_article("dog") == "a dog"
    assert [listing(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert Placed(shape_thing("circle", "red", 20), (1, 2, 21, 22)).entry() == {
        "name": "circle",
        "box": [1, 2, 21, 22],
        "color": "red",
    }


def two_pictures(index, save):
    size = (5 + index % 3, 9)
    return {"images": [save(Image.new("RGB", size, (index, 0, k))) for k in range(2)], "index": index}


def test_rows_and_pictures_do_not_depend_on_the_number_of_workers(tmp_path):
    for workers in (1, 2):
        report = build_rows(tmp_path / str(workers), "two", 130, two_pictures, Engine(workers=workers))
        assert (report.name, report.rows) == ("two", 130)
    files = [sorted(p.relative_to(tmp_path / w) for p in (tmp_path / w).rglob("*.*")) for w in ("1", "2")]
    assert files[0] == files[1] and len(files[0]) == 261
    assert all((tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes() for file in files[0])
    rows = [json.loads(line) for line in (tmp_path / "2" / "two.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(130))
    assert rows[7]["images"] == ["images/two/000007.png", "images/two/000007-1.png"]
    assert Image.open(tmp_path / "2" / rows[7]["images"][1]).getpixel((0, 0)) == (7, 0, 1)
