from collections import Counter

import numpy as np
import pytest

from mm15.base.rng import python_rng
from mm15.build.canvas import SHAPES
from mm15.build.materials import Materials
from mm15.build.math_items import PLURALS, TASKS, count_item, make, next_item

MATERIALS = Materials()
ITEMS = [make(i, "train", 5, MATERIALS) for i in range(360)]


def recomputed(item) -> str:
    data = item.extra["data"]
    if item.task == "math_count":
        shape = {plural: shape for shape, plural in PLURALS.items()}[item.question.removeprefix("How many ")[:-1]]
        return str(data["cells"].count(shape))
    if item.task == "math_dots":
        a, b, c = data["counts"]
        assert b - a == c - b
        return str(c + c - b)
    if item.task == "math_next":
        shown = data["cells"][:5]
        period = next(p for p in (2, 3) if all(shown[i] == shown[i % p] for i in range(5)))
        return shown[5 % period]
    best = (max if item.task == "math_high" else min)(data["values"])
    assert data["values"].count(best) == 1
    return "ABCD"[data["values"].index(best)]


def test_answers_follow_from_what_was_drawn():
    assert {item.task for item in ITEMS} == set(TASKS)
    for item in ITEMS:
        assert item.answer == recomputed(item)


def test_answers_are_balanced():
    for task, answers in {"math_count": 6, "math_dots": 6, "math_next": 6, "math_high": 4, "math_low": 4}.items():
        counts = Counter(item.answer for item in ITEMS if item.task == task)
        assert len(counts) == answers
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("count", [1, 3, 6])
def test_as_many_shapes_are_drawn_as_are_listed(count):
    item = count_item(count, python_rng(1, count))
    pixels = np.asarray(item.image).astype(int)
    rows = (item.image.height - 4) // 20
    columns = (item.image.width - 4) // 20
    paper = np.median(pixels.reshape(-1, 3), axis=0)
    for place, name in enumerate(item.extra["data"]["cells"]):
        row, column = divmod(place, columns)
        cell = pixels[4 + row * 20 : 20 + row * 20, 4 + column * 20 : 20 + column * 20]
        painted = (np.abs(cell - paper).sum(axis=2) > 150).mean() > 0.15
        assert painted == bool(name)
    assert rows * columns == len(item.extra["data"]["cells"])


def test_the_last_place_of_a_pattern_is_empty():
    for shape in SHAPES:
        item = next_item(shape, python_rng(2, shape))
        pixels = np.asarray(item.image).astype(int)
        last = pixels[-17:-8, -17:-8]
        assert np.abs(last - np.median(last.reshape(-1, 3), axis=0)).max() < 60
        assert item.answer == shape
