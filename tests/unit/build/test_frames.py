"""Four moments of a clip must be enough to answer."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from mm15.build import frames
from mm15.build._clip_tasks import Clip, Scene
from mm15.build._film import frames_of, open_strips
from mm15.build.frames import KINDS, moments, shows_every_scene
from mm15.build.materials import Materials

MATERIALS = Materials()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built")
    frames.build(out, "heldout", 48, 3, MATERIALS, workers=1)
    return out


@pytest.fixture(scope="module")
def rows(built) -> list[dict]:
    return [json.loads(line) for line in (built / "frames.jsonl").read_text().splitlines()]


def answer(row: dict) -> str:
    return row["conversations"][1]["value"]


def test_rows_hold_four_frames_of_one_size_in_order(built, rows):
    assert Counter(row["task"] for row in rows) == dict.fromkeys(KINDS, 12)
    for row in rows:
        pictures = [Image.open(built / name) for name in row["image"]]
        assert len(pictures) == 4 and len({picture.size for picture in pictures}) == 1
        assert pictures[0].size == (row["width"][0], row["height"][0]) and row["width"][0] != row["height"][0]
        assert max(pictures[0].size) <= 64
        assert row["conversations"][0]["value"].startswith("<image><image><image><image>\n")
        assert row["at"] == sorted(set(row["at"])) and row["at"][-1] < row["frames"]


def test_answers_take_turns(rows):
    directions = Counter(answer(row) for row in rows if row["task"] == "direction")
    assert directions == dict.fromkeys(("left", "right", "up", "down"), 3)
    assert Counter(answer(row) for row in rows if row["task"] == "cuts") == dict.fromkeys("0123", 3)


def test_every_change_of_place_is_seen(built, rows):
    for row in rows:
        if row["task"] != "cuts":
            continue
        shown = [np.asarray(Image.open(built / name).resize((16, 12)), float) for name in row["image"]]
        jumps = sum(float(np.abs(one - other).mean()) > 25 for one, other in pairwise(shown))
        assert jumps == int(answer(row)), row["id"]


def test_what_changes_lies_between_the_second_and_third_frame(built, rows):
    for row in rows:
        if row["task"] == "change":
            shown = [Image.open(built / name) for name in row["image"]]
            changed = [ImageChops.difference(*pair).getbbox() for pair in pairwise(shown)]
            assert [box is not None for box in changed] == [False, True, False]


def test_moments_are_middles_and_a_scene_between_them_is_noticed():
    assert moments(20) == [2, 7, 12, 17]
    place = Image.new("RGB", (40, 30))
    clip = Clip([Scene([place] * 8), Scene([place] * 3), Scene([place] * 9)], 40, 30)
    assert not shows_every_scene(clip, moments(20)), "frames 8 to 10 are shown by none of 2, 7, 12, 17"
    assert shows_every_scene(clip, [2, 8, 12, 17])


def test_a_strip_shows_the_frames_of_its_film():
    pytest.importorskip("av")
    (strip,) = open_strips(MATERIALS, "heldout")
    film = frames_of(MATERIALS.clip_files("heldout")[0])
    assert strip.shots[-1].last == len(film) == 42
    for number in (0, 20, 41):
        a, b = (np.asarray(picture, float) for picture in (strip.frame(number), film[number]))
        assert a.shape == b.shape == (100, 176, 3) and np.abs(a - b).mean() < 6
