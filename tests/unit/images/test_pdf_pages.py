"""Pages of PDFs as pictures: only where the caller says so, measured before they are drawn."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from data_fixture import small_processor
from format_fixture import pdf, picture, tiff
from mm15.base.errors import MissingExtra, PictureError
from mm15.base.types import Category, ImagePart, MediaRef, Sample, document
from mm15.images import pdf as pdf_module
from mm15.images.pixels import PixelBudget, frame_sizes, open_picture, picture_size
from mm15.images.tensors import open_pixels


def test_a_page_is_drawn_as_large_as_it_was_measured():
    data = pdf("One", "Two", size=(301, 199))
    for dpi in (72, 100, 150):
        drawn = open_picture(data, frame=1, dpi=dpi)
        assert drawn.mode == "RGB" and drawn.size == picture_size(data, frame=1, dpi=dpi)
        assert drawn.size == frame_sizes(data, dpi=dpi)[1]
        assert abs(drawn.width - 301 * dpi / 72) < 1 and abs(drawn.height - 199 * dpi / 72) < 1


def test_the_text_stands_where_the_page_says_and_pages_differ():
    data = pdf("Hello", "Other")
    first, second = (np.asarray(open_picture(data, frame=page, dpi=72)) for page in (0, 1))
    rows, columns = np.where(first.min(axis=2) < 100)
    # 18 points high, its baseline 150 points from the bottom of 200.
    assert 30 < rows.min() < 45 and 48 <= rows.max() <= 56 and 18 <= columns.min() <= 24
    assert not np.array_equal(first, second)
    assert np.array_equal(open_pixels(data, frame=1, dpi=72).permute(1, 2, 0), second)


def test_a_turned_page_and_its_crop_box_decide_the_size():
    turned = pdf("One", extra="/Rotate 90")
    assert picture_size(turned, dpi=72) == (200, 300) == open_picture(turned, dpi=72).size
    cropped = pdf("One", extra="/CropBox [10 20 110 90]")
    assert picture_size(cropped, dpi=72) == (100, 70) == open_picture(cropped, dpi=72).size


def test_without_being_told_a_pdf_is_refused_as_ever():
    with pytest.raises(PictureError, match="not a readable"):
        open_picture(pdf("One"))


@pytest.mark.parametrize(
    ("data", "page", "reason"),
    [
        (pdf("One"), 1, "has 1 pages, there is no page 1"),
        (b"%PDF-1.4 broken", 0, "not a readable PDF"),
        (picture(), 0, "not a readable PDF"),
        (b"", 0, "empty: 0 bytes"),
        (pdf("One", size=(90000, 200)), 0, "px"),
    ],
)
def test_what_is_no_page_is_refused_with_a_reason(data: bytes, page: int, reason: str):
    for act in (open_picture, open_pixels, picture_size):
        with pytest.raises(PictureError, match=reason):
            act(data, frame=page, dpi=150)


def test_a_page_over_the_budget_is_refused_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mm15.images.pixels.draw_page", lambda *_: pytest.fail("drawn"))
    budget = PixelBudget(max_pixels=10_000)
    with pytest.raises(PictureError, match="more than the 10000 pixels allowed"):
        open_picture(pdf("One"), dpi=150, budget=budget)
    assert frame_sizes(pdf("One"), dpi=150, budget=budget) == [(0, 0)]


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    pdf_module._pdfium.cache_clear()
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingExtra, match=r"mm15\[pdf\]"):
        picture_size(pdf("One"), dpi=72)
    monkeypatch.undo()
    pdf_module._pdfium.cache_clear()
    assert picture_size(pdf("One"), dpi=72) == (300, 200)


def test_sizes_of_the_frames_of_a_tiff_and_of_single_pictures():
    assert frame_sizes(tiff((30, 20), (50, 10), (7, 9))) == [(30, 20), (50, 10), (7, 9)]
    assert frame_sizes(
        picture(30, 20, form="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    ) == [(20, 30)]
    assert frame_sizes(tiff((30, 20), (50, 10)), budget=PixelBudget(max_side=40)) == [(30, 20), (0, 0)]
    assert len(frame_sizes(tiff((30, 20), (50, 10))[:-40])) < 3


def test_the_processor_draws_the_page_that_the_address_names():
    processor = small_processor()
    media = MediaRef(data=pdf("A", "B", size=(30, 20)), frame=1, dpi=72)
    sample = Sample("k", "s", Category.OCR, (document(ImagePart(media), "b"),))
    encoded = processor.encode(sample)
    assert encoded.tiles_NCHW.shape[0] >= 1 and processor.count(sample).tokens == len(encoded.tokens_T)
    other = replace(sample, messages=(document(ImagePart(replace(media, frame=5)), "b"),))
    with pytest.raises(PictureError, match="no page 5"):
        processor.encode(other)
