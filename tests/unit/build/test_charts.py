import random
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import DataError
from mm15.build._bars import bar_chart
from mm15.build._typeset import load_font
from mm15.build.charts import MATH_TASKS, READ_TASKS, bar_item, make, pick_series
from mm15.build.materials import Materials, Table

MATERIALS = Materials()
TASKS = READ_TASKS + MATH_TASKS
FONTS = MATERIALS.fonts("train")


def items(split, n=240):
    return [make(i, TASKS, split, 5, MATERIALS) for i in range(n)]


def recomputed(item) -> str:
    """The answer from the question's words and the data that was drawn."""
    data = item.extra["data"]
    if item.task == "table_value":
        return dict(data["cells"])[item.question.removeprefix("What does the table say for ").removesuffix("?")]
    values = dict(zip(data["labels"], data["values"], strict=True))
    if item.task == "chart_more":
        first, second = re.fullmatch(r"Is (.+) more than (.+)\?", item.question).groups()
        return "yes" if values[first] > values[second] else "no"
    if item.task == "chart_value":
        return str(values[item.question.removeprefix("What is the value of ").removesuffix("?")])
    return {
        "chart_high": max(values, key=values.__getitem__),
        "chart_low": min(values, key=values.__getitem__),
        "chart_count": str(len(values)),
    }[item.task]


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_follow_from_what_was_drawn(split):
    for item in items(split):
        assert item.answer == recomputed(item)


def test_the_drawn_text_holds_what_is_asked():
    for item in items("train", 120):
        drawn = Counter(box[0] for box in item.chars)
        needed = {"chart_high", "chart_low", "chart_value", "table_value"}
        if item.task in needed:
            assert not Counter(item.answer.replace(" ", "")) - drawn


def test_answers_are_balanced():
    found = items("train", 600)
    more = Counter(item.answer for item in found if item.task == "chart_more")
    assert 0.35 < more["yes"] / more.total() < 0.65
    counts = Counter(item.answer for item in found if item.task == "chart_count")
    assert set(counts) == set("234") and max(counts.values()) - min(counts.values()) <= 1


def test_held_out_charts_show_held_out_tables_only():
    def labels(split):
        tables = MATERIALS.tables(split)
        return {row[0] for table in tables for row in table.rows} | {c for table in tables for c in table.columns}

    assert not {t.name for t in MATERIALS.tables("train")} & {t.name for t in MATERIALS.tables("heldout")}
    for item in items("heldout", 120):
        if item.task != "table_value":
            assert set(item.extra["data"]["labels"]) <= labels("heldout")


def test_values_are_those_of_the_table_up_to_a_power_of_ten():
    table = Table("t", ("city", "people"), (("Rome", "2873"), ("Oslo", "709"), ("Bern", "134")))
    drawn = [pick_series([table], 3, random.Random(seed)) for seed in range(30)]
    found = [series for series in drawn if series]
    assert found
    for labels, values in found:
        assert dict(zip(labels, values, strict=True)) == {"Rome": 29, "Oslo": 7, "Bern": 1}


def test_bars_are_as_high_as_their_values():
    font = load_font(FONTS[0], 10)
    for seed in range(12):
        values = random.Random(seed).sample(range(2, 30), 3)
        image, _ = bar_chart(["", "", ""], values, font, random.Random(seed))
        pixels = np.asarray(image).astype(int)
        slot = (image.width - 8) // 3
        heights = []
        for index in range(3):
            column = pixels[:, 4 + index * slot + slot // 2]
            heights.append(int((np.abs(column - pixels[0, 0]).sum(axis=1) > 60).sum()))
        assert sorted(range(3), key=heights.__getitem__) == sorted(range(3), key=values.__getitem__)
        tallest = max(heights)
        assert all(abs(h / tallest - v / max(values)) < 0.08 for h, v in zip(heights, values, strict=True))


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="more than 60"):
        bar_chart(["a long label", "another one"], [1, 2], load_font(FONTS[0], 10), random.Random(0), max_width=60)


def test_tables_without_usable_numbers_are_named():
    table = Table("poems", ("line", "verse"), (("one", "roses"), ("two", "violets")))
    with pytest.raises(DataError, match="poems"):
        bar_item("chart_high", 2, [table], FONTS, [], random.Random(0))
    assert isinstance(items("train", 1)[0].image, Image.Image)
