"""Documents with figures in place, and sets of several pictures for instruction tuning."""

import base64
import io
import json
import re

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageDraw

from mm15.base.types import ImagePart, TextPart
from mm15.build._composed import plural
from mm15.build._figures import NO_PLACE
from mm15.build._manuals import Figure, Heading, read_html
from mm15.build._sets import told
from sets_fixture import build, dropped, rows, samples, texts_at, write_page, write_photo

PAGE = """<html><head><title>Not shown</title><style>p {}</style></head><body>
<nav>Menu <a href="#">Home</a></nav>
<h1>The pump</h1><p>It moves   water
from the well.</p>
<img src="img/pump.jpg" alt="A pump with two handles">
<p>Turn it slowly.</p><script>alert("no")</script>
<table><tr><th>Part</th><th>Price</th></tr><tr><td>valve</td><td>3</td></tr></table>
<pre>  step 1
  step 2</pre>
<ul><li>oil it</li><li>dry it</li></ul>
<img src="https://example.org/far.png"><img src="../../outside.jpg"><img src="img/gone.png"><img src="img/drawing.svg">
<img src="img/icon.png"><img src="img/broken.png">
<figure><img src="%s"><figcaption>Figure 2: the valve</figcaption></figure>
<p>Done &amp; dusted.</p></body></html>"""


@pytest.fixture
def manual(tmp_path):
    folder = tmp_path / "in"
    write_photo(folder / "img" / "pump.jpg", (200, 30, 30), (120, 90))
    write_photo(tmp_path / "outside.jpg", (1, 2, 3))
    (folder / "img" / "drawing.svg").write_text("<svg></svg>")
    Image.new("RGB", (16, 12)).save(folder / "img" / "icon.png")
    (folder / "img" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    data = io.BytesIO()
    Image.new("RGB", (50, 40), (0, 90, 0)).save(data, "PNG")
    inline = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    (folder / "pump.html").write_text(PAGE % inline)
    (folder / "words.html").write_text("<p>Only words here, and no picture at all.</p>")
    return folder


def test_a_manual_is_read_in_order(manual):
    blocks, left_out = read_html(manual / "pump.html", manual)
    shown = [block if isinstance(block, str) else type(block).__name__ for block in blocks]
    assert shown == [
        "Heading", "It moves water from the well.", "Figure", "Turn it slowly.", "Part | Price", "valve | 3",
        "  step 1\n  step 2", "oil it", "dry it", "Figure", "Figure 2: the valve", "Done & dusted.",
    ]  # fmt: skip
    assert blocks[0] == Heading("The pump")
    assert isinstance(blocks[2], Figure) and blocks[2].caption == "A pump with two handles"
    assert (blocks[2].width, blocks[2].height) == (120, 90)
    assert [reason for reason, _ in left_out] == [
        "a picture at a network address; nothing is fetched",
        "a picture outside the input folder",
        "a picture that is not there",
        "an SVG picture",
        "a picture under 32 px",
        "a picture that cannot be opened",
    ]


def test_documents_have_their_pictures_where_they_stood(manual, tmp_path):
    build("interleaved", tmp_path / "d", manual, n=3, formats=("obelics",))
    (row,) = rows(tmp_path / "d" / "documents.jsonl")
    assert [text is None for text in row["texts"]] == [False, True, False, True, False]
    assert json.loads(row["general_metadata"])["document"] == "pump.html"
    alts = [entry and entry["alt_text"] for entry in json.loads(row["metadata"])]
    assert alts == [None, "A pump with two handles", None, "", None]
    (sample,) = samples(tmp_path / "d")["documents"]
    parts = sample.messages[0].parts
    assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart, ImagePart, TextPart]
    assert isinstance(parts[0], TextPart) and parts[0].text == "The pump\n\nIt moves water from the well."
    first = parts[1]
    assert isinstance(first, ImagePart) and (first.width, first.height) == (120, 90)
    assert (tmp_path / "d" / row["images"][1]).read_bytes() == (manual / "img" / "pump.jpg").read_bytes()
    found = dropped(tmp_path / "d")
    assert found["text without a figure"] == [str(manual / "words.html")]
    assert found["an SVG picture"] == [f"{manual / 'pump.html'}: img/drawing.svg"]


def test_long_manuals_are_cut_at_headings(tmp_path):
    write_photo(tmp_path / "in" / "a.jpg", (9, 9, 200), (90, 60))
    section = "<h2>Section {0}</h2><img src='a.jpg'>" + "<p>" + "Some words about it. " * 60 + "</p>"
    (tmp_path / "in" / "long.html").write_text("".join(section.format(number) for number in range(12)))
    build("interleaved", tmp_path / "d", tmp_path / "in", n=10, formats=("obelics",))
    documents = rows(tmp_path / "d" / "documents.jsonl")
    assert len(documents) == 3
    for row in documents:
        assert row["texts"][0].startswith("Section") and sum(len(text or "") for text in row["texts"]) <= 8000


FIGURE_PAGE = [
    (40, 330, "The quick brown fox jumps over the dog"),
    (40, 316, "and runs along the river."),
    (70, 200, "Figure 1: a red field"),
    (40, 150, "Then it walks home before dark, tired"),
    (40, 136, "but glad and very hungry."),
]


def test_a_drawing_of_a_pdf_stands_between_its_paragraphs(tmp_path):
    (tmp_path / "in").mkdir()
    drawing = "0.8 0.1 0.1 rg 60 220 120 80 re f 0 g"
    write_page(tmp_path / "in" / "a.pdf", f"{drawing} {texts_at(FIGURE_PAGE)}", (300, 360))
    (tmp_path / "in" / "cut.pdf").write_bytes(b"%PDF-1.4\n")
    build("interleaved", tmp_path / "d", tmp_path / "in", n=3, formats=("obelics",))
    (row,) = rows(tmp_path / "d" / "documents.jsonl")
    before, figure, after = row["texts"]
    assert before == "The quick brown fox jumps over the dog and runs along the river." and figure is None
    assert after.split("\n\n")[:2] == [
        "Figure 1: a red field",
        "Then it walks home before dark, tired but glad and very hungry.",
    ]
    assert json.loads(row["metadata"])[1]["alt_text"] == "Figure 1: a red field"
    pixels = np.asarray(Image.open(tmp_path / "d" / row["images"][1]).convert("RGB")).astype(int)
    red = np.abs(pixels - (204, 26, 26)).max(axis=2) < 12
    assert red.mean() > 0.75 and abs(pixels.shape[1] / pixels.shape[0] - 1.5) < 0.1
    assert dropped(tmp_path / "d") == {"not a readable PDF": [str(tmp_path / "in" / "cut.pdf")]}


def test_worked_examples_ask_one_question_and_answer_it_rightly(tmp_path):
    build("interleaved", tmp_path / "d", n=20, formats=("llava",), size=200)
    read = rows(tmp_path / "d" / "in-context.jsonl")
    assert {row["shots"] for row in read} == {1, 2, 3, 4}
    for row, sample in zip(read, samples(tmp_path / "d")["in-context"], strict=True):
        assert len(sample.images) == row["shots"] + 1 == len(row["objects"])
        asked = row["conversations"][0]["value"].split("<image>\n")[1:]
        questions = [text.split("\n")[0] for text in asked]
        assert len(set(questions)) == 1
        assert [text.strip().split("\n")[1] for text in asked[:-1]] == row["answers"][:-1]
        assert row["conversations"][1]["value"] == row["answers"][-1]
        for objects, answer in zip(row["objects"], row["answers"], strict=True):
            names = [one["name"] for one in objects]
            if row["task"] == "count_all":
                assert answer == str(len(names))
            elif row["task"] == "count":
                (name,) = re.findall(r"How many (.+) are there", questions[0])
                assert answer == str(sum(plural(one) == name for one in names))
            elif row["task"] == "left":
                assert answer == min(objects, key=lambda one: one["box"][0])["name"]
            elif row["task"] == "name":
                area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one["box"] for one in objects)]
                assert answer == names[area.index(max(area))]


def test_every_picture_is_told_in_its_turn(tmp_path):
    folder = tmp_path / "in"
    for number in range(5):
        write_photo(folder / f"{number}.jpg", (20 + 40 * number, 90, 10), (90, 60 + number))
    figures = "".join(f"<p>About it.</p><img src='{k}.jpg' alt='Drawing number {k} of five'>" for k in range(5))
    (folder / "a.html").write_text(figures)
    build("interleaved", tmp_path / "d", folder, n=8, formats=("messages",), size=200)
    read = rows(tmp_path / "d" / "captions-interleaved.jsonl")
    assert {bool(row["objects"]) for row in read} == {True, False}
    for row, sample in zip(read, samples(tmp_path / "d")["captions-interleaved"], strict=True):
        told = row["messages"][1]["content"].split("\n")
        assert len(told) == len(sample.images) == row["messages"][0]["content"].count("<image>")
        for place, line in enumerate(told):
            assert line.startswith(f"Picture {place + 1}: ")
            if row["objects"]:
                assert all(one["name"].split()[-1][:3] in line.lower() for one in row["objects"][place])
            else:
                number = int(re.findall(r"number (\d)", line)[0])
                assert (tmp_path / "d" / row["images"][place]).read_bytes() == (folder / f"{number}.jpg").read_bytes()


def test_figures_of_shipped_pages_are_found(tmp_path):
    build("interleaved", tmp_path / "d", n=1, formats=("obelics",))
    (row,) = rows(tmp_path / "d" / "documents.jsonl")
    (name, *_) = [name for name in row["images"] if name]
    picture = Image.open(tmp_path / "d" / name).convert("RGB")
    assert min(picture.size) >= 60 and len(ImageDraw.ImageDraw(picture).im.getcolors(1 << 24) or []) > 1


def test_an_object_that_pdfium_cannot_place_is_dropped_by_name_and_other_errors_stop(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    drawing = "0.8 0.1 0.1 rg 60 220 120 80 re f 0 0.6 0.2 rg 200 230 40 60 re f 0 g"
    write_page(tmp_path / "in" / "a.pdf", f"{drawing} {texts_at(FIGURE_PAGE)}", (300, 360))
    bounds = pypdfium2.PdfObject.get_bounds

    def fails_on_green(item, error):
        found = bounds(item)
        if item.type != 1 and abs(found[0] - 200) < 2:
            raise error
        return found

    monkeypatch.setattr(
        pypdfium2.PdfObject, "get_bounds", lambda item: fails_on_green(item, pypdfium2.PdfiumError("cannot locate"))
    )
    report = build("interleaved", tmp_path / "d", tmp_path / "in", n=3, formats=("obelics",))
    (row,) = rows(tmp_path / "d" / "documents.jsonl")
    assert [text is None for text in row["texts"]] == [False, True, False], "the red field is still a figure"
    assert dropped(tmp_path / "d") == {NO_PLACE: [f"{tmp_path / 'in' / 'a.pdf'}#0"]}
    assert any(f"1 x {NO_PLACE} (train)" in line for line in told(report, tmp_path / "d"))
    monkeypatch.setattr(pypdfium2.PdfObject, "get_bounds", lambda item: fails_on_green(item, KeyError("a bug")))
    with pytest.raises(KeyError, match="a bug"):
        build("interleaved", tmp_path / "e", tmp_path / "in", n=3, formats=("obelics",))
