"""Pages and their text: PDFA, IDL and RenderedText in their tars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from format_fixture import Opened, pdf, picture, tiff, told, write_tar
from mm15.base.types import Box, Category, Role
from mm15.data.source import Source, SourceConfig
from mm15.images.pixels import open_picture
from mm15.io.media import read_bytes


def pdfa_page(*texts: str, boxes: Any = None) -> dict[str, Any]:
    """A page as pixparse/pdfa-eng-wds has it; line k lies 0.1 * k from the top."""
    boxes = [[0.1, 0.1 * k, 0.5, 0.05] for k in range(len(texts))] if boxes is None else boxes
    scores = [1.0] * len(texts)
    return {
        "words": {"text": ["w"], "bbox": [[0, 0, 1, 1]], "score": [1.0], "line_pos": [[0, 0]]},
        "lines": {"text": list(texts), "bbox": boxes, "score": scores, "word_slice": [[0, 1]] * len(texts)},
        "images_bbox": [],
        "images_bbox_no_text_overlap": [],
    }


def idl_page(*texts: str) -> dict[str, Any]:
    """A page as pixparse/idl-wds has it."""
    box = [0.25, 0.5, 0.5, 0.25]
    corners = [{"X": 0.25, "Y": 0.5}] * 4
    return {
        "text": list(texts),
        "bbox": [box] * len(texts),
        "poly": [corners] * len(texts),
        "score": [0.9] * len(texts),
    }


def document(folder: Path, *pages: Any, record: Any = None, **files: bytes) -> Path:
    text = json.dumps({"pages": list(pages)}) if record is None else record
    members: dict[str, bytes | str] = {f"doc.{name}": data for name, data in files.items()} | {"doc.json": text}
    return write_tar(folder / "pdfa-eng-train-0000.tar", members)


def test_pdfa_gives_a_sample_a_page_drawn_from_the_pdf_with_boxes_in_pixels(tmp_path: Path):
    tar = document(tmp_path, pdfa_page("One", "Two"), pdfa_page("Three"), pdf=pdf("One", "Three"))
    first, second = Opened("ocr-wds", tar, Category.OCR, dpi=72).samples()
    assert (first.key, second.key) == ("set/0/0", "set/0/1")
    question, answer = first.messages
    assert told(question.parts) == ["<pdfa-eng-train-0000.tar:doc.pdf>", "Recognize text in the image."]
    assert answer.text == "One\nTwo" and answer.trained and second.messages[1].text == "Three"
    (image,) = second.images
    assert (image.media.frame, image.media.dpi, image.width, image.height) == (1, 72, 300, 200)
    assert open_picture(read_bytes(image.media), frame=1, dpi=72).size == (300, 200)
    assert first.meta["boxes"] == [pytest.approx([30, 0, 180, 10]), pytest.approx([30, 20, 180, 30])]
    assert first.meta["page"] == 0 and first.meta["__key__"] == "doc"


def test_options_choose_joiner_document_dpi_and_boxes(tmp_path: Path):
    tar = document(tmp_path, pdfa_page("One", "Two"), pdf=pdf("One"))
    (sample,) = Opened("ocr-wds", tar, joiner=" ", prompt="", dpi=144, boxes=True).samples()
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and sample.images[0].width == 600
    image, one, space, first, two, _, second = told(message.parts)
    assert (one, space, two) == ("One", " ", " Two") and image.startswith("<")
    assert first == Box(60, 0, 360, 20) and second.y1 == pytest.approx(40)


def test_idl_is_drawn_from_the_tif_even_of_one_bit_or_cmyk(tmp_path: Path):
    for mode in ("1", "CMYK"):
        files = {"tif": tiff((40, 20), (60, 30), mode=mode), "pdf": pdf("x"), "ocr": b"old"}
        tar = document(tmp_path, idl_page("A", "B"), idl_page("C"), **files)
        first, second = Opened("ocr-wds", tar).samples()
        assert first.messages[1].text == "A\nB" and second.messages[1].text == "C"
        assert second.images[0].media.member == "doc.tif" and second.images[0].media.dpi == 0
        assert second.meta["boxes"] == [[15, 15, 45, 22.5]]
        assert open_picture(read_bytes(second.images[0].media), frame=1).size == (60, 30)
    (only,) = Opened("ocr-wds", tar, file="pdf", dpi=72).samples()
    assert only.images[0].media.member == "doc.pdf" and (only.meta["file_pages"], only.meta["json_pages"]) == (1, 2)


@pytest.mark.parametrize(("in_file", "in_json"), [(1, 3), (3, 1)])
def test_pages_that_only_one_of_the_two_has_are_left_out_and_counted(tmp_path: Path, in_file: int, in_json: int):
    pages = [pdfa_page(f"Page {k}") for k in range(in_json)]
    for files in ({"pdf": pdf(*["x"] * in_file)}, {"tif": tiff(*[(30, 20)] * in_file)}):
        (sample,) = Opened("ocr-wds", document(tmp_path, *pages, **files)).samples()
        assert sample.messages[1].text == "Page 0"
        assert (sample.meta["file_pages"], sample.meta["json_pages"]) == (in_file, in_json)


def test_pages_without_text_are_passed_over_with_the_reason(tmp_path: Path):
    pages = [pdfa_page(), pdfa_page(" ", ""), pdfa_page("Text"), {"images_bbox": []}, pdfa_page("A", boxes=[])]
    samples = Opened("ocr-wds", document(tmp_path, *pages, pdf=pdf(*"abcde"))).samples()
    (sample,) = samples
    assert sample.key == "set/0/0" and sample.meta["page"] == 2 and sample.images[0].media.frame == 2
    assert sample.meta["skipped_pages"] == {
        0: "no text",
        1: "no text",
        3: "no list 'text' of its lines",
        4: "'bbox' must list a box for each of the 1 lines",
    }


BAD_BOXES = {
    "outside": [1.2, 0.1, 0.5, 0.1],
    "no area": [0.1, 0.1, 0.0, 0.1],
    "negative": [0.5, 0.5, -0.2, 0.1],
    "strings": ["0.1", "0.1", "0.5", "0.1"],
    "three": [0.1, 0.1, 0.5],
    "nan": [float("nan"), 0.1, 0.5, 0.1],
}


def test_text_layers_that_cannot_be_trusted_are_passed_over_when_asked(tmp_path: Path):
    good, bad = "The quick brown fox jumps over the lazy dog and runs home", "\ue001\ue002\ue003 " * 20
    tar = document(tmp_path, pdfa_page(good), pdfa_page(bad), pdf=pdf("One", "Two"))
    assert len(Opened("ocr-wds", tar, Category.OCR, dpi=72).samples()) == 2
    (kept,) = Opened("ocr-wds", tar, Category.OCR, dpi=72, check_text=True).samples()
    assert kept.messages[1].text == good and kept.meta["skipped_pages"] == {1: "control characters"}


@pytest.mark.parametrize("box", BAD_BOXES.values(), ids=BAD_BOXES)
def test_a_box_that_is_none_is_null_in_meta_and_refuses_the_page_where_boxes_are_written(tmp_path: Path, box: Any):
    tar = document(tmp_path, pdfa_page("A", "B", boxes=[box, [0.0, 0.5, 0.5, 0.25]]), pdf=pdf("A"))
    (sample,) = Opened("ocr-wds", tar, dpi=72).samples()
    assert sample.meta["boxes"] == [None, [0, 100, 150, 150]] and sample.messages[1].text == "A\nB"
    assert "page 0: a line without a usable box" in Opened("ocr-wds", tar, boxes=True).refused()


def test_a_box_over_the_edge_is_cut_there(tmp_path: Path):
    tar = document(tmp_path, pdfa_page("A", boxes=[[-0.1, 0.9, 1.3, 0.2]]), pdf=pdf("A"))
    (sample,) = Opened("ocr-wds", tar, dpi=72).samples()
    assert sample.meta["boxes"] == [pytest.approx([0, 180, 300, 200])]


def test_rendered_text_joins_its_lines(tmp_path: Path):
    record = {"ocr_annotation": {"text": ["First line", "  ", "second"], "fonts": [{"x": 1}], "bbox": "opaque"}}
    tar = write_tar(tmp_path / "r.tar", {"7.png": picture(40, 30), "7.json": json.dumps(record)})
    (sample,) = Opened("ocr-wds", tar).samples()
    assert sample.messages[1].text == "First line\nsecond" and "boxes" not in sample.meta
    assert sample.images[0].media.member == "7.png"
    assert "a line without a usable box" in Opened("ocr-wds", tar, boxes=True).refused()


@pytest.mark.parametrize(
    ("pages", "files", "reason"),
    [
        ([pdfa_page()], {"pdf": pdf("x")}, "no page can be used (1 in the file, 1 in the json): page 0: no text"),
        ([], {"pdf": pdf("x")}, "no page can be used (1 in the file, 0 in the json)"),
        ([pdfa_page("A")], {"pdf": pdf()}, "not a readable PDF"),
        ([pdfa_page("A")], {"pdf": b"%PDF-1.7 cut off"}, "not a readable PDF"),
        ([pdfa_page("A")], {"tif": b""}, "empty: 0 bytes"),
        ([pdfa_page("A")], {"ocr": b"A"}, "no member tif or tiff or pdf"),
        ([pdfa_page("A")], {"pdf": pdf("A", size=(40000, 40000))}, "too large to be drawn"),
    ],
)
def test_documents_without_a_usable_page_are_refused(tmp_path: Path, pages: Any, files: Any, reason: str):
    assert reason in Opened("ocr-wds", document(tmp_path, *pages, **files)).refused()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("[]", "must be an object, found list"),
        ('{"page": 1}', "neither 'pages' nor 'ocr_annotation'; it has: page"),
        ('{"pages": {}}', "'pages' must be a list, found dict"),
        (b'{"pages": "\xff"}', "not UTF-8"),
        ("{", "not valid JSON"),
    ],
)
def test_records_that_are_none_are_refused(tmp_path: Path, record: Any, reason: str):
    assert reason in Opened("ocr-wds", document(tmp_path, record=record, pdf=pdf("A"))).refused()


def test_a_source_numbers_the_pages_of_all_documents(tmp_path: Path):
    members: dict[str, bytes | str] = {}
    for key, texts in (("a", ["One", "Two"]), ("b", []), ("c", ["Three"])):
        members |= {f"{key}.pdf": pdf(*(texts or ["x"]))}
        members |= {f"{key}.json": json.dumps({"pages": [pdfa_page(text) for text in texts]})}
    write_tar(tmp_path / "pages.tar", members)
    config = SourceConfig(name="p", path="pages.tar", format="ocr-wds", category=Category.OCR, options={"dpi": 72})
    source = Source(config, tmp_path)
    assert [source.sample(number).messages[-1].text for number in (0, 1, len(source) - 1)] == ["One", "Two", "Three"]
