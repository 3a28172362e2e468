"""Regions are drawn where they are, on a copy."""

import numpy as np
import pytest
from PIL import Image

from mm15.base.types import Box, Point
from mm15.images.draw import draw_regions

RED, GREEN = (255, 0, 0), (0, 255, 0)


def test_a_box_is_drawn_on_a_copy():
    image = Image.new("RGB", (80, 50), "white")
    drawn = draw_regions(image, [Box(10, 20, 60, 40)], colors=["#ff0000"])
    red_HW = (np.asarray(drawn) == RED).all(-1)
    rows, cols = np.nonzero(red_HW)
    assert (cols.min(), rows.min(), cols.max(), rows.max()) == (10, 20, 60, 40)
    assert not red_HW[30, 35]
    assert np.asarray(image).min() == 255


def test_a_point_is_a_filled_dot():
    drawn = draw_regions(Image.new("RGB", (80, 50)), [Point(30, 12)], colors=["#ff0000"])
    assert drawn.getpixel((30, 12)) == RED
    assert drawn.getpixel((40, 12)) == (0, 0, 0)


def test_colors_are_taken_in_turn():
    regions = [Box(0, 0, 9, 9), Box(20, 0, 29, 9), Box(40, 0, 49, 9)]
    drawn = draw_regions(Image.new("RGB", (80, 50)), regions, colors=["#ff0000", "#00ff00"])
    assert [drawn.getpixel((x, 5)) for x in (0, 20, 40)] == [RED, GREEN, RED]


def test_a_label_is_written_inside_the_picture():
    image = Image.new("RGB", (120, 50))
    drawn = draw_regions(image, [Box(100, 40, 119, 49)], ["cat"], colors=["#ff0000"])
    white_HW = (np.asarray(drawn) > 200).all(-1)
    assert white_HW.any()
    assert not (np.asarray(draw_regions(image, [Box(100, 40, 119, 49)], [""], colors=["#ff0000"])) > 200).all(-1).any()


@pytest.mark.parametrize(
    "region", [Box(-50, -9, 900, 300), Box(70, 45, 20, 5), Point(-20, 90), Box(200, 200, 300, 300)]
)
def test_regions_beyond_the_borders_do_no_harm(region):
    drawn = draw_regions(Image.new("L", (80, 50)), [region], ["a long label that does not fit"])
    assert (drawn.size, drawn.mode) == ((80, 50), "RGB")


def test_labels_must_match():
    with pytest.raises(ValueError, match="2 labels for 1 regions"):
        draw_regions(Image.new("RGB", (80, 50)), [Point(1, 2)], ["a", "b"])
