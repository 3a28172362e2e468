import random
from collections import Counter

from mm15.build._pdf import read_page, usable_pages
from mm15.build.materials import Materials
from mm15.build.words import SHEET, TASKS, held_words, make, page_word, typeset

MATERIALS = Materials()
PAGES, _ = usable_pages(MATERIALS, "train", 1, 6)


def items(split, n, page_share=0.4):
    return [make(i, split, 5, MATERIALS, PAGES if split == "train" else [], page_share) for i in range(n)]


def test_training_mixes_words_page_crops_and_numbers():
    counts = Counter(item.task for item in items("train", 300))
    assert set(counts) == set(TASKS)
    assert min(counts["words"], counts["page_word"]) > counts["word"] > counts["number"] > 10


def test_the_answer_is_what_the_boxes_spell():
    for item in items("train", 150):
        assert "".join(box[0] for box in item.chars) == item.answer.replace(" ", "")
        for word in item.answer.split() if item.task == "words" else ():
            assert word.isalpha() and 3 <= len(word) <= 8
        if item.task == "words":
            continue
        lefts = [box[1] for box in item.chars]
        assert lefts == sorted(lefts)
        assert 54 <= item.image.width <= 64 and 45 <= item.image.height <= 54
        if item.task == "number":
            assert item.answer.isdigit() and 2 <= len(item.answer) <= 5
        else:
            assert item.answer.isalpha() and 3 <= len(item.answer) <= 8


def test_no_held_out_word_stands_on_a_training_picture():
    held = held_words(MATERIALS)
    train, heldout = items("train", 300), items("heldout", 100)
    assert not any(item.answer.lower() in held for item in train)
    assert all(item.task == "word" and item.answer.lower() in held for item in heldout)
    assert not set(MATERIALS.fonts("train")) & set(MATERIALS.fonts("heldout"))


def test_a_page_whose_words_are_all_held_out_gives_none():
    page = read_page(*PAGES[0])
    everything = frozenset("".join(g.char for g in word).lower() for line in page.lines for word in line)
    assert page_word(page, everything, random.Random(0)) is None
    assert page_word(page, frozenset(), random.Random(0)) is not None


def test_the_longest_word_fits_in_every_typeface():
    for font in MATERIALS.fonts("train") + MATERIALS.fonts("heldout"):
        for text in ("WWWWWWWW", "mmmmmmmm", "jig"):
            image, boxes = typeset([text], [font], [], SHEET, random.Random(len(text)))
            assert all(x1 >= 0 and x2 <= image.width and y1 >= 0 and y2 <= image.height for _, x1, y1, x2, y2 in boxes)
