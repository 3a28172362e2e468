"""Regions: Ferret's numbers, what can be read back, and what must be refused."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from mm15.base.errors import SkipSample
from mm15.base.types import Box, Point
from mm15.text.regions import malformed_regions, parse_regions, write_box, write_point, write_region


@pytest.mark.parametrize(
    ("box", "size", "text"),
    [
        (Box(0, 0, 640, 480), (640, 480), "[0, 0, 998, 997]"),  # Clamped to 639 and 479 before truncation.
        (Box(320, 120, 480, 240), (640, 480), "[500, 250, 750, 500]"),
        (Box(10.9, 3.99, 99.5, 71.2), (300, 200), "[36, 19, 331, 356]"),
        (Box(-5, -1, 4000, 30), (3000, 40), "[0, 0, 999, 750]"),
        (Box(100, 100, 101, 102), (4000, 3000), "[25, 33, 26, 34]"),  # Thinner than a step: widened to one.
        (Box(3998, 10, 4000, 20), (4000, 30), "[998, 333, 999, 666]"),
        (Box(float("-inf"), 0, float("inf"), 60), (1000, 60), "[0, 0, 999, 983]"),
    ],
)
def test_boxes_are_written_as_in_ferret(box: Box, size: tuple[int, int], text: str) -> None:
    assert write_box(box, *size) == write_region(box, *size) == text


def test_points_are_written_as_in_ferret() -> None:
    assert write_point(Point(123.4, 56.7), 200, 100) == write_region(Point(123.4, 56.7), 200, 100) == "[617, 567]"
    assert write_point(Point(200, 100), 200, 100) == "[995, 990]"


def test_round_trip_is_within_a_pixel_or_a_step() -> None:
    dice = random.Random(11)
    for _ in range(3000):
        width, height = dice.randint(2, 6000), dice.randint(2, 6000)
        x1, x2 = sorted(dice.choice([dice.uniform(0, width), dice.randint(0, width)]) for _ in range(2))
        y1, y2 = sorted(dice.choice([dice.uniform(0, height), dice.randint(0, height)]) for _ in range(2))
        if x1 == x2 or y1 == y2:
            continue
        text = write_box(Box(x1, y1, x2, y2), width, height)
        (found,) = parse_regions(text, width, height)
        assert malformed_regions(text) == []
        box = found.region
        assert isinstance(box, Box)
        for low, high, read_low, read_high, side in [
            (x1, x2, box.x1, box.x2, width),
            (y1, y2, box.y1, box.y2, height),
        ]:
            step = max(1.0, side / 1000) + 1e-6
            assert abs(min(high, side - 1) - read_high) <= step
            # What lies wholly in the last step of the scale has to move back to have a step of its own.
            assert abs(min(low, side - 1) - read_low) <= (2 * step if low >= 0.999 * side else step)
        (spot,) = parse_regions(write_point(Point(x1, y2), width, height), width, height)
        assert isinstance(spot.region, Point)
        assert abs(spot.region.x - min(x1, width - 1)) <= max(1, width / 1000)
        assert abs(spot.region.y - min(y2, height - 1)) <= max(1, height / 1000)


@pytest.mark.parametrize("side", [7, 640, 1000, 1333, 4096])
def test_what_was_read_is_written_the_same_again(side: int) -> None:
    for value in range(1000):
        (found,) = parse_regions(f"[{value}, 0]", side, 3)
        assert isinstance(found.region, Point)
        if found.region.x <= side - 1:
            assert write_region(found.region, side, 3) == f"[{value}, 0]"


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (Box(5, 5, 5, 9), "no area"),
        (Box(9, 5, 5, 9), "no area"),
        (Box(float("nan"), 0, 5, 9), "no area"),
        (Box(0, 0, 5, float("nan")), "no area"),
        (Box(80, 0, 90, 9), r"\(80, 0, 90, 9\) lies outside its 80×60 picture"),
        (Box(-9, 0, 0, 9), "lies outside"),
        (Box(0, 60, 9, 70), "lies outside"),
        (Point(81, 5), "lies outside"),
        (Point(float("nan"), 5), "lies outside"),
        (Point(5, -0.1), "lies outside"),
    ],
)
def test_regions_that_are_none_are_refused(region: Box | Point, reason: str) -> None:
    with pytest.raises(SkipSample, match=reason):
        write_region(region, 80, 60)


def test_boxes_and_points_are_read_with_labels_and_places() -> None:
    text = "The large dog [100, 200, 300, 400] is next to a red car [500,250,750,500]. Yes, at [ 10 , 20 ]."
    found = parse_regions(text, 640, 480, image=2)
    assert [item.label for item in found] == ["large dog", "red car", ""]
    assert [item.region for item in found] == [Box(64, 96, 192, 192, 2), Box(320, 120, 480, 240, 2), Point(6.4, 9.6, 2)]
    assert found[0].norm == (100, 200, 300, 400)
    assert text[found[2].start : found[2].end] == "[ 10 , 20 ]"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("dogs [1, 2, 3, 4] [5, 6, 7, 8], [9, 9, 12, 12] and [1, 1, 2, 2]", ["dogs"] * 4),
        ("Cat:\n[1, 2, 3, 4]\n[5, 6, 7, 8]", ["Cat", ""]),
        ("man in the red shirt [1, 2, 3, 4] and the bus [5, 6, 7, 8]", ["man in the red shirt", "bus"]),
        ("It is at [1, 2, 3, 4].", [""]),
        ("[1, 2, 3, 4]", [""]),
        ("a cat [1, 2, 3] dog [1, 2, 3, 4]", ["dog"]),
        ("a cat [1, 2, 3], [1, 2, 3, 4]", ["cat"]),
        ("I see a clock [[5, 6, 7, 8]]", ["clock"]),
    ],
)
def test_labels(text: str, labels: list[str]) -> None:
    assert [found.label for found in parse_regions(text, 100, 80)] == labels


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2, 3]", "2 or 4 integers"),
        ("[1, 2, 3, 4, 5]", "2 or 4 integers"),
        ("[0.1, 0.2, 0.5, 0.6]", "2 or 4 integers"),
        ("[0.5, 0.6]", "2 or 4 integers"),
        ("[10, 20, 1000, 30]", "2 or 4 integers"),
        ("[-1, 20]", "2 or 4 integers"),
        ("[1 2 3 4]", "2 or 4 integers"),
        ("[1, 2; 3, 4]", "2 or 4 integers"),
        ("[" + "9" * 6000 + ", 1]", "2 or 4 integers"),
        ("[5, 6, 5, 9]", "x1 < x2"),
        ("[5, 6, 9, 2]", "x1 < x2"),
        ("a dog [5, 6, 9", "ends inside"),
    ],
)
def test_malformed_regions_are_named_and_never_guessed(text: str, reason: str) -> None:
    assert parse_regions(text, 640, 480) == []
    (bad,) = malformed_regions(text)
    assert reason in bad.reason
    assert text[bad.start : bad.end] == bad.text


@pytest.mark.parametrize("text", ["", "no brackets", "[1]", "[]", "[a, b]", "[2.5]", "[[[", "]]1, 2[[", "(1, 2, 3, 4)"])
def test_other_brackets_are_no_regions(text: str) -> None:
    assert parse_regions(text, 640, 480) == [] == malformed_regions(text)


def test_junk_never_raises() -> None:
    dice = random.Random(5)
    alphabet = ["[", "]", ",", " ", "12", "999", "1000", ".", "-", ";", "a", "\n", "٣", "²", "\x00"]
    for _ in range(3000):
        text = "".join(dice.choices(alphabet, k=30))
        found, bad = parse_regions(text, 33, 77), malformed_regions(text)
        places = sorted((item.start, item.end) for item in [*found, *bad])
        assert all(first[1] <= second[0] for first, second in pairwise(places))
        for item in found:
            assert len(item.norm) in (2, 4) and all(0 <= value <= 999 for value in item.norm)
    assert parse_regions("[" * 100_000 + "1," * 100_000, 10, 20) == []
