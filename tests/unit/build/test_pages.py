import random
import re

import pytest

from mm15.base.errors import DataError
from mm15.build._pdf import read_page, text_of, usable_pages
from mm15.build.materials import Materials
from mm15.build.pages import MAX_LINE, OCR_TASKS, SFT_TASKS, kv_item, make, may_show, on_several, wrap
from mm15.build.words import held_words

MATERIALS = Materials()
PAGES, _ = usable_pages(MATERIALS, "train", 1, 6)
ITEMS = [make(i, OCR_TASKS, "train", 5, MATERIALS, PAGES, 0.6) for i in range(180)]


def spelled(item) -> str:
    return "".join(box[0] for box in item.chars)


def solid(text: str) -> str:
    return "".join(text.split())


def test_answers_are_what_the_boxes_spell():
    seen = set()
    for item in ITEMS:
        seen.add(item.task)
        if item.task in ("line", "block"):
            assert spelled(item) == solid(item.answer)
        elif item.task == "title":
            assert spelled(item).startswith(solid(item.answer))
        elif item.task == "last_line":
            assert spelled(item).endswith(solid(item.answer))
    assert seen == set(OCR_TASKS)


def test_lines_are_short_and_blocks_have_three_to_five():
    for item in ITEMS:
        lines = item.answer.split("\n")
        assert len(lines) == 1 or (item.task == "block" and len(lines) in (3, 4, 5))
        assert all(len(line) <= MAX_LINE for line in lines)
        assert 116 <= item.image.width <= 128 and 88 <= item.image.height <= 128


def test_a_box_asks_for_the_word_inside_it():
    located = [item for item in ITEMS if item.task == "bbox2t_word"]
    assert located
    for item in located:
        numbers = re.fullmatch(r"Which word is at <bbox>(\d+),(\d+),(\d+),(\d+)</bbox>\?", item.question)
        assert numbers
        x1, y1, x2, y2 = (int(number) / 999 for number in numbers.groups())
        width, height = item.image.size
        inside = [
            box[0]
            for box in item.chars
            if x1 * width - 0.5 <= (box[1] + box[3]) / 2 <= x2 * width + 0.5
            and y1 * height - 0.5 <= (box[2] + box[4]) / 2 <= y2 * height + 0.5
        ]
        assert "".join(inside) == item.answer


def test_no_held_out_word_stands_on_a_training_picture():
    held = held_words(MATERIALS)
    assert not any(set(re.findall("[a-z]+", item.answer.lower())) & held for item in ITEMS)
    keyed = [kv_item(i, "train", 5, MATERIALS) for i in range(80)]
    assert not any(item.answer in held for item in keyed)
    values = [item.answer for item in (kv_item(i, "heldout", 5, MATERIALS) for i in range(80))]
    assert all(value.isdigit() or value in held for value in values)


def test_the_asked_key_stands_before_its_value():
    for index in range(60):
        item = kv_item(index, "train", 7, MATERIALS)
        key = item.question.removeprefix("What is the ").removesuffix("?")
        assert spelled(item).count(f"{key}:") == 1
        assert f"{key}:{item.answer}" in spelled(item)


def test_conversations_ask_for_lines_and_titles():
    tasks = {make(i, SFT_TASKS, "heldout", 5, MATERIALS, [], 0.6).task for i in range(6)}
    assert tasks == {"line", "title", "last_line"}


def test_what_may_be_shown():
    held = frozenset({"otter"})
    assert may_show("a small river", held)
    assert not may_show("a small otter.", held)
    assert not may_show("sea-otter nest", held)
    assert not may_show("café au lait", held)
    assert not may_show("12.5 / 18.0 (7)", held)


def test_wrap_takes_neighbouring_words_or_says_why_not():
    paragraph = "one two three four five six seven eight nine ten eleven twelve"
    for seed in range(20):
        lines = wrap([paragraph], 2, 12, frozenset(), random.Random(seed))
        assert len(lines) == 2 and " ".join(lines) in paragraph
    with pytest.raises(DataError, match="2 lines"):
        wrap(["word"], 2, 12, frozenset(), random.Random(0))


def test_running_heads_are_no_held_out_lines():
    pages, _ = usable_pages(MATERIALS, "heldout", 1, 200)
    assert on_several("User Guide", tuple(pages)), "the foot of every page of one document, on both sides"
    lines = [make(i, ("line",), "heldout", 5, MATERIALS, pages, 1.0) for i in range(60)]
    assert not [item.answer for item in lines if on_several(item.answer, tuple(pages))]
    assert any(not on_several(text_of(line), tuple(pages)) for line in read_page(*pages[0]).lines)
