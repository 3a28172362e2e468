"""PDFs: boxes lie on what they name, answers are what is drawn, unusable pages and broken files are named."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import DataError
from mm15.base.types import Box
from mm15.build._page_parts import Parts
from mm15.build._pdf import read_page
from mm15.build._pdfa import Document
from mm15.build.sets.pdf import plan_pages
from mm15.images.pdf import draw_page
from mm15.io.tar import TarRows
from mm15.text.legible import sayable
from sets_fixture import build, dropped, rows, said, samples, texts_at, write_page

_spec = importlib.util.spec_from_file_location("pdf_writer", Path(__file__).parent.parent / "test_pdf.py")
assert _spec and _spec.loader
_writer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_writer)
write_pdf = _writer.write_pdf
LINES = _writer.LINES


TABLE = [("Part", "Price", "Stock"), ("wheel", "12.50", "7"), ("pedal", "8.00", "31"), ("saddle", "25.00", "4")]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        lines = [f"Report {number} about something", *LINES]
        write_pdf(folder / f"report-{number}.pdf", lines=lines)
    placed = [(20, 200, "Bicycle parts that are in store"), (20, 60, "Owner: Emma Brown"), (20, 40, "Place: Rome")]
    placed += [((20, 120, 220)[c], 170 - 18 * r, cell) for r, row in enumerate(TABLE) for c, cell in enumerate(row)]
    write_page(folder / "form.pdf", texts_at(placed), (300, 220))
    return folder


def ink_of(path):
    return np.asarray(Image.open(path).convert("L")) < 140


def assert_on_ink(ink, box):
    """Ink fills the box from edge to edge, and there is none in a thin frame around it to the left and right."""
    x1, y1, x2, y2 = box
    ys, xs = np.nonzero(ink[max(0, int(y1) - 1) : int(y2) + 2, max(0, int(x1) - 1) : int(x2) + 2])
    assert len(ys), "no ink"
    assert xs.min() <= 4 and xs.max() >= x2 - x1 - 4 and ys.min() <= 4 and ys.max() >= y2 - y1 - 4


def test_the_boxes_of_grounding_lie_on_ink_and_the_two_kinds_agree(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=30, size=900)
    found = Counter()
    for row in rows(tmp_path / "d" / "ground-text.jsonl"):
        ink = ink_of(tmp_path / "d" / row["image"])
        assert (row["image_w"], row["image_h"]) == (ink.shape[1], ink.shape[0]) and max(ink.shape) == 900
        (box,) = [box for side in row["box_x1y1x2y2"] for box in side]
        assert_on_ink(ink, box)
        found[row["task"]] += 1
    assert found["ground"] >= 10 and found["refer"] >= 10
    for name in ("locate", "ground-text"):
        for sample in samples(tmp_path / "d")[name]:
            regions = [part.region for message in sample.messages for part in message.parts if hasattr(part, "region")]
            assert len(regions) == 1 and isinstance(regions[0], Box)
            assert_on_ink(
                ink_of(sample.images[0].media.path), (regions[0].x1, regions[0].y1, regions[0].x2, regions[0].y2)
            )


def test_what_is_located_is_what_stands_there(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=30, size=900, formats=("docowl",))
    tasks = Counter()
    for row in rows(tmp_path / "d" / "locate.jsonl"):
        tasks[row["task_name"]] += 1
        text = [
            turn["content"].split("<ocr> ")[1].split(" </ocr>")[0]
            for turn in row["messages"]
            if "<ocr>" in turn["content"]
        ]
        name = row["image"][0].rpartition("/")[2].split("-")[0]
        (source,) = [path for path in folder.iterdir() if _digest(path).startswith(name)]
        parts = Parts(read_page(source, 0))
        box = [
            turn["content"].split("<bbox>")[1].split("</bbox>")[0]
            for turn in row["messages"]
            if "<bbox>" in turn["content"]
        ]
        x1, y1, x2, y2 = (int(v) / 999 * side for v, side in zip(box[0].split(","), parts.size * 2, strict=True))
        inside = [
            "".join(glyph.char for glyph in word)
            for line in parts.lines
            for word in line
            if x1 - 1 <= sum(parts.box([word])[::2]) / 2 <= x2 + 1
            and y1 - 1 <= sum(parts.box([word])[1::2]) / 2 <= y2 + 1
        ]
        assert " ".join(inside) == text[0].replace("\n", " ")
    assert set(tasks) == {f"{a}_{b}" for a in ("bbox2t", "t2bbox") for b in ("word", "line", "paragraph")}


def _digest(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_shards_are_read_as_pages_with_boxes_on_ink(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=5, formats=("pdfa",), size=1200)
    read = samples(tmp_path / "d")["pages"]
    assert len(read) == 5
    for sample in read:
        ref = sample.images[0].media
        with open(ref.path, "rb") as file:
            file.seek(ref.offset)
            picture = draw_page(file.read(ref.size), ref.frame, ref.dpi)
        ink = np.asarray(picture.convert("L")) < 140
        assert (ink.shape[1], ink.shape[0]) == (sample.images[0].width, sample.images[0].height)
        assert sample.meta["boxes"]
        for box in sample.meta["boxes"]:
            assert_on_ink(ink, box)
    assert any("over the lazy dog and then" in said(sample)[-1] for sample in read)
    (row,) = {json.dumps(sorted(TarRows(tmp_path / "d" / "pages" / "00000.tar").row(k))) for k in range(5)}
    assert json.loads(row) == ["__key__", "json", "pdf"]


def test_a_table_is_found_and_its_cells_are_asked_for(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=40)
    (table,) = rows(tmp_path / "d" / "tables.jsonl")
    assert [tuple(row) for row in table["cells"]] == TABLE
    for asked, answered in zip(table["conversations"][::2], table["conversations"][1::2], strict=True):
        row = next(row for row in TABLE if f'"{row[0]}"' in asked["value"])
        assert answered["value"] == row[int(asked["value"].rstrip("?")[-1]) - 1]
    (ocr,) = rows(tmp_path / "d" / "tables-ocr.jsonl")
    lines = ocr["messages"][1]["content"].removeprefix("<md> ").removesuffix(" </md>").splitlines()
    assert lines[0] == "| Part | Price | Stock |" and lines[1] == "| --- | --- | --- |"
    assert lines[2:] == ["| " + " | ".join(row) + " |" for row in TABLE[1:]]
    # The cut shows the table and nothing of what stands above and below.
    ink = ink_of(tmp_path / "d" / ocr["image"][0])
    ys, xs = np.nonzero(ink)
    assert ys.min() > 2 and ys.max() < ink.shape[0] - 2 and xs.min() > 2 and xs.max() < ink.shape[1] - 2


def test_a_table_with_pictures_or_cut_lines_is_not_asked_about(tmp_path):
    (tmp_path / "in").mkdir()
    rows_at = [((20, 120, 220)[c], 170 - 18 * r, cell) for r, row in enumerate(TABLE) for c, cell in enumerate(row)]
    heading = (20, 200, "Bicycle parts that are in store, with their prices")
    picture = "q 20 0 0 20 90 140 cm BI /W 1 /H 1 /CS /G /BPC 8 ID @ EI Q"
    pages = {
        "plain": texts_at([heading, *rows_at]),
        "picture": f"{texts_at([heading, *rows_at])} {picture}",
        "running": texts_at([heading, *rows_at, (122, 106, "and below it goes on")]),
    }
    for name, content in pages.items():
        write_page(tmp_path / "in" / f"{name}.pdf", content, (300, 220))
    found = {name: Parts(read_page(tmp_path / "in" / f"{name}.pdf", 0)).grids for name in pages}
    assert [len(grids) for grids in found.values()] == [1, 0, 0]


def test_keys_with_values(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=40, formats=("llava",))
    (row,) = rows(tmp_path / "d" / "key-values.jsonl")
    turns = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"]]
    assert dict(zip(turns[::2], turns[1::2], strict=True)) == {
        'What does it say after "Owner:"?': "Emma Brown",
        'What does it say after "Place:"?': "Rome",
    }
    for box in row["value_boxes"]:
        assert_on_ink(ink_of(tmp_path / "d" / row["image"]), box)


def test_transcriptions_show_their_text_only(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=40, formats=("docowl",), size=700)
    tasks = Counter(row["task_name"] for row in rows(tmp_path / "d" / "transcribe.jsonl"))
    assert set(tasks) == {"word", "line", "paragraph", "page"}
    for row in rows(tmp_path / "d" / "transcribe.jsonl"):
        assert max(row["width"], row["height"]) <= 700
        answer = row["messages"][1]["content"]
        if row["task_name"] == "page":
            assert answer.startswith("<doc> ") and answer.endswith(" </doc>") and answer.count("\n") >= 4
        else:
            assert all(sayable(line) for line in answer.split("\n"))
            assert (answer.count("\n") > 0) == (row["task_name"] == "paragraph")
            assert ink_of(tmp_path / "d" / row["image"][0]).any()


def test_broken_files_and_unusable_pages_are_named(folder, tmp_path):
    (folder / "cut.pdf").write_bytes(b"%PDF-1.4\nnothing more")
    write_pdf(folder / "unseen.pdf", mode=3)
    write_pdf(folder / "turned.pdf", rotate=90)
    (folder / "copy.pdf").write_bytes((folder / "report-0.pdf").read_bytes())
    report = build("pdf", tmp_path / "d", folder, n=40)
    assert dropped(tmp_path / "d") == {
        "the same bytes as another file": [str(folder / "report-0.pdf")],
        "not a readable PDF": [str(folder / "cut.pdf")],
        "text and ink disagree": [f"{folder / 'unseen.pdf'}#0"],
        "rotated page": [f"{folder / 'turned.pdf'}#0"],
    }
    (side,) = report["sides"]
    assert side["rows"]["pages"] == 5
    assert side["dropped"]["rotated page"] == {"count": 1, "first": f"{folder / 'turned.pdf'}#0"}


def test_documents_are_on_one_side(folder, tmp_path):
    build("pdf", tmp_path / "d", folder, n=20, heldout=0.4)
    names = [
        {row["image"][0].split("-")[0] for row in rows(tmp_path / "d" / side / "transcribe.jsonl")}
        for side in ("", "heldout")
    ]
    assert len(names[0]) == 3 and len(names[1]) == 2 and not names[0] & names[1]


def test_pages_are_spread_over_documents():
    documents = [Document(Path(f"{k}.pdf"), str(k), tuple(range(pages))) for k, pages in enumerate((1, 3, 100, 100))]
    tasks = plan_pages(documents, 60, 0)
    counted = Counter(task.document.key for task in tasks)
    assert counted == {"0": 1, "1": 3, "2": 28, "3": 28}
    assert [number for task in tasks for number in task.rows] == list(range(60))
    assert len(plan_pages(documents, 1000, 0)) == 204
    assert {task.document.key for task in plan_pages(documents, 8, 0)} < {"0", "1", "2", "3"}
    assert plan_pages([], 5, 0) == []


def test_a_page_that_shows_a_word_in_part_gives_no_rows(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    prose = [(20, 260 - 14 * number, text) for number, text in enumerate(LINES)]
    write_page(folder / "whole.pdf", texts_at([*prose, (20, 40, "Owner: Emma Brown"), (400, 40, "unseen")]), (300, 280))
    # The value's second word is seen in part: "Property" alone would be a wrong answer.
    cut = [(20, 40, "Owner: Property Setsfoil.header.properties.foil.master.properties.and.so.on.for.ever")]
    write_page(folder / "cut.pdf", texts_at([*prose, *cut]), (300, 280))
    build("pdf", tmp_path / "d", folder, n=12)
    assert dropped(tmp_path / "d") == {"a line of text runs over the page's edge": [f"{folder / 'cut.pdf'}#0"]}
    told = [said(sample) for sample in samples(tmp_path / "d")["key-values"]]
    assert told and all("Emma Brown" in str(turn) and "Property" not in str(turn) for turn in told)
    whole, part = (Parts(read_page(folder / name, 0)) for name in ("whole.pdf", "cut.pdf"))
    assert whole.is_whole and not part.is_whole
    assert not any("unseen" in str(line) for line in whole.lines) and len(part.lines) == len(LINES)


def test_a_broken_file_is_on_neither_side(folder, tmp_path):
    for number in range(40):
        (folder / f"broken-{number:02d}.pdf").write_text(f"no PDF {number}")
    report = build("pdf", tmp_path / "d", folder, n=10, heldout=0.2)
    assert [side["rows"]["pages"] > 0 for side in report["sides"]] == [True, True]
    assert len(dropped(tmp_path / "d")["not a readable PDF"]) == 40
    for file in folder.glob("[fr]*.pdf"):
        file.unlink()
    with pytest.raises(DataError, match=r"no file of the inputs can be used:\n  - .*broken-00.pdf: not a readable PDF"):
        build("pdf", tmp_path / "e", folder, n=10, heldout=0.2)
