"""Two and three pictures: balance, and answers that the pictures themselves confirm."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops

from mm15.base.types import Category
from mm15.build import pairs
from mm15.build.canvas import cut_out
from mm15.build.materials import SPLITS, Materials
from mm15.datasets import llava
from mm15.datasets._context import RowContext

MATERIALS = Materials()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs")
    pairs.build(out / "train", "train", 84, 5, MATERIALS)
    pairs.build(out / "heldout", "heldout", 96, 5, MATERIALS)
    return out


def rows(built, split):
    return [json.loads(line) for line in (built / split / "pairs.jsonl").read_text().splitlines()]


def ask(row):
    question, answer = (turn["value"] for turn in row["conversations"][:2])
    return question.replace("<image>", "").strip(), answer


def test_same_seed_same_bytes(tmp_path, built):
    pairs.build(tmp_path, "train", 14, 5, MATERIALS, workers=1)
    assert (tmp_path / "pairs.jsonl").read_text().splitlines() == (
        (built / "train" / "pairs.jsonl").read_text().splitlines()[:14]
    )
    for file in sorted((tmp_path / "images" / "pairs").iterdir()):
        assert file.read_bytes() == (built / "train" / "images" / "pairs" / file.name).read_bytes()


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_rows_list_their_pictures_and_prompts_are_short(built, split):
    for index, row in enumerate(rows(built, split)):
        sizes = [Image.open(built / split / name).size for name in row["image"]]
        assert sizes == list(zip(row["width"], row["height"], strict=True))
        assert len(sizes) == (3 if row["task"] == "which-of-three" else 2)
        assert all(width != height for width, height in sizes)
        assert len(ask(row)[0]) <= 40
        context = RowContext("pairs", Category.MULTI_IMAGE, str(index), str(built / split))
        assert len(llava.to_samples(row, context)[0].images) == len(sizes)


def test_heldout_rows_are_binary_in_equal_parts_and_every_answer_is_as_frequent_as_the_other(built):
    made = rows(built, "heldout")
    assert Counter(row["task"] for row in made) == dict.fromkeys(pairs.BINARY, 24)
    for task in pairs.BINARY:
        answers = Counter(ask(row)[1] for row in made if row["task"] == task)
        assert len(answers) == 2 and set(answers.values()) == {12}
    assert set(Counter(row["task"] for row in rows(built, "train"))) == {*pairs.BINARY, *pairs.OPEN}


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_changed_pictures_differ_only_where_something_was_added_or_removed(built, split):
    for row in rows(built, split):
        if row["task"] not in ("change", "added", "removed"):
            continue
        before, after = (Image.open(built / split / name) for name in row["image"])
        changed = ImageChops.difference(before, after).getbbox()
        if row["task"] == "change" and ask(row)[1] == "yes":
            assert changed is not None
        if changed is not None:
            left, top, right, bottom = changed
            assert max(right - left, bottom - top) <= 52
            outside = np.ones((before.height, before.width), dtype=bool)
            outside[top:bottom, left:right] = False
            assert (np.asarray(before)[outside] == np.asarray(after)[outside]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_same_objects_are_two_drawings_where_there_are_two_and_all_of_one_side(tmp_path, monkeypatch, split):
    shown = []

    def spy(materials, name, side, drawing, *rest, varied=False):
        shown.append((name, side, drawing))
        assert varied, "the same drawing is never the same pixels"
        return cut_out(materials, name, side, drawing, *rest, varied=varied)

    monkeypatch.setattr(pairs, "cut_out", spy)
    pairs.build(tmp_path, split, 70, 5, MATERIALS, workers=1)
    made = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    asked = [row for row in made if row["task"] in ("same", "both")]
    assert len(shown) == 2 * len(asked)
    for row, first, second in zip(asked, shown[::2], shown[1::2], strict=True):
        assert (first[0] == second[0]) == (ask(row)[1] == "yes")
        assert (first == second) == (first[0] == second[0] and len(MATERIALS.pictures(first[0], split)) == 1)
        assert {first[1], second[1]} == {split}


def test_the_place_of_the_right_one_of_three_takes_turns(built):
    places = Counter(ask(row)[1] for row in rows(built, "train") if row["task"] == "which-of-three")
    assert places == {"1": 4, "2": 4, "3": 4}
