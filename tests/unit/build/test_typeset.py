import random

import numpy as np
import pytest
from PIL import Image

from mm15.build._typeset import colors, draw_text, fade, fit_font, load_font, sheet, wear
from mm15.build.materials import Materials

MATERIALS = Materials()
FONTS = [*MATERIALS.fonts("train"), *MATERIALS.fonts("heldout")]


def ink_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L")) < 250


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("path", FONTS, ids=lambda path: path.stem)
def test_char_boxes_are_the_ink(path, bold):
    for size in (10, 15, 22):
        image = Image.new("RGB", (300, 60), (255, 255, 255))
        boxes = draw_text(image, "AVjigqo 4To fly", 12, 38, load_font(path, size), (0, 0, 0), bold)
        assert [box[0] for box in boxes] == list("AVjigqo4Tofly")
        ink, covered = ink_of(image), np.zeros((60, 300), bool)
        for _, x1, y1, x2, y2 in boxes:
            covered[y1:y2, x1:x2] = True
            assert ink[y1:y2, x1:x2].any()
        # Antialiasing may leave a pale pixel of a slanted glyph outside.
        assert (ink & ~covered).sum() <= 0.01 * ink.sum()
        rows, columns = np.nonzero(ink)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        union = [f(box[k] for box in boxes) for k, f in ((1, min), (2, min), (3, max), (4, max))]
        assert max(abs(a - b) for a, b in zip(edges, union, strict=True)) <= 1


def test_each_box_holds_its_own_glyph():
    font = load_font(MATERIALS.fonts("train")[0], 20)
    alone = []
    for char in "house":
        image = Image.new("RGB", (60, 40), (255, 255, 255))
        ((_, x1, y1, x2, y2),) = draw_text(image, char, 10, 30, font, (0, 0, 0))
        alone.append(np.asarray(image.convert("L"))[y1:y2, x1:x2])
    image = Image.new("RGB", (140, 40), (255, 255, 255))
    for (_, x1, y1, _, _), glyph in zip(draw_text(image, "house", 10, 30, font, (0, 0, 0)), alone, strict=True):
        drawn = np.asarray(image.convert("L"))[y1 : y1 + glyph.shape[0], x1 : x1 + glyph.shape[1]]
        assert np.abs(drawn.astype(int) - glyph).mean() < 20


def test_fit_font_shrinks_only_what_is_too_wide():
    path = FONTS[0]
    assert fit_font(path, 20, ["to"], 100).size == 20
    narrow = fit_font(path, 20, ["to", "a rather long line"], 100)
    assert narrow.size < 20 and narrow.getlength("a rather long line") <= 100


def test_sheet_places_lines_below_each_other_inside_the_picture():
    font = load_font(FONTS[1], 12)
    image, lines = sheet([("first line", font), ("second", font)], random.Random(1))
    assert ["".join(box[0] for box in line) for line in lines] == ["firstline", "second"]
    assert max(box[4] for box in lines[0] if box[0] in "irst") <= min(box[2] for box in lines[1])
    assert all(
        0 <= x1 < x2 <= image.width and 0 <= y1 < y2 <= image.height for line in lines for _, x1, y1, x2, y2 in line
    )


def test_ink_stands_out():
    rng = random.Random(2)
    for _ in range(200):
        ink, paper = colors(rng)
        assert min(abs(i - p) for i, p in zip(ink, paper, strict=True)) >= 100
    for level in (20, 128, 240):
        faded, ink = fade(Image.new("RGB", (40, 20), (level,) * 3), rng)
        assert abs(float(np.asarray(faded).mean()) - sum(ink) / 3) >= 90


def test_wear_never_moves_a_pixel():
    image = Image.new("RGB", (40, 24), (250, 250, 250))
    image.paste((0, 0, 0), (10, 6, 20, 18))
    for seed in range(20):
        dark = np.asarray(wear(image, random.Random(seed)).convert("L")) < 125
        rows, columns = np.nonzero(dark)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 6, 20, 18)
