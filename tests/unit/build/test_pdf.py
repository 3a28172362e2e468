"""Text layers that can be trusted, and those that cannot: checked on tiny PDFs written here."""

import random
import sys

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import MissingExtra, SkipSample
from mm15.build import _pdf
from mm15.build._pdf import crop_lines, crop_words, flush_block, read_page, text_of, unusable, usable_pages
from mm15.build.materials import Materials

LINES = [
    "The quick brown fox jumps",
    "over the lazy dog and then",
    "walks home along the river",
    "before dark, tired but glad.",
]


def write_pdf(path, lines=LINES, mode=0, to_unicode=None, rotate=0, leading=20):
    """One page of 240 x 160 points in Helvetica. ``mode`` 3 is invisible; ``to_unicode`` maps codes to claimed text."""
    shown = "".join(f"({line}) Tj 0 -{leading} Td " for line in lines)
    content = f"BT /F1 12 Tf {mode} Tr 20 130 Td {shown} ET"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 240 160] /Rotate {rotate} /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        f"{font} /ToUnicode 6 0 R >>" if to_unicode else f"{font} >>",
    ]
    if to_unicode:
        pairs = "\n".join(f"<{ord(a):02X}> <{ord(b):04X}>" for a, b in to_unicode.items())
        cmap = (
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
            "1 begincodespacerange <00> <FF> endcodespacerange\n"
            f"{len(to_unicode)} beginbfchar\n{pairs}\nendbfchar endcmap end end"
        )
        objects.append(f"<< /Length {len(cmap)} >>\nstream\n{cmap}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF"
    path.write_bytes(data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode())
    return path


def test_the_lines_of_a_page(tmp_path):
    page = read_page(write_pdf(tmp_path / "a.pdf"), 0)
    assert [text_of(line) for line in page.lines] == LINES
    assert all(20 <= glyph.left < glyph.right <= 220 for line in page.lines for word in line for glyph in word)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 3), (3, 5)])
def test_a_crop_shows_its_words_and_nothing_of_their_neighbours(tmp_path, start, stop):
    page = read_page(write_pdf(tmp_path / "a.pdf"), 0)
    image, boxes = crop_words(page, page.lines[0], start, stop, 16.0, random.Random(start))
    assert "".join(box[0] for box in boxes) == "".join(LINES[0].split()[start:stop])
    ink, covered = np.asarray(image.convert("L")) < 128, np.zeros((image.height, image.width), bool)
    for _, x1, y1, x2, y2 in boxes:
        inside = (slice(max(0, int(y1) - 1), int(y2) + 2), slice(max(0, int(x1) - 1), int(x2) + 2))
        assert ink[inside].any()
        covered[inside] = True
    assert not (ink & ~covered).any()
    rows, columns = np.nonzero(ink)
    assert abs(columns.min() - min(b[1] for b in boxes)) <= 2 and abs(columns.max() - max(b[3] for b in boxes)) <= 2
    assert abs(rows.min() - min(b[2] for b in boxes)) <= 2 and abs(rows.max() - max(b[4] for b in boxes)) <= 2


def test_a_block_is_cut_between_words_of_every_line(tmp_path):
    page = read_page(write_pdf(tmp_path / "a.pdf"), 0)
    blocks = [flush_block(page, 2, 16, random.Random(seed)) for seed in range(40)]
    found = [block for block in blocks if block]
    assert found
    for block in found:
        texts = [text_of(line) for line in block]
        assert all(len(text) <= 16 and any(line.startswith(text) for line in LINES) for text in texts)
        image, boxes = crop_lines(page, block, 12.0, random.Random(0))
        assert "".join(box[0] for box in boxes) == "".join(texts).replace(" ", "")
        ink = np.asarray(image.convert("L")) < 128
        assert not ink[:, round(max(box[3] for box in boxes)) + 2 :].any()


SHIFTED = {chr(code): chr(code + 1) for code in range(ord("a"), ord("z"))}
PRIVATE = {chr(code): chr(0xE000 + code) for code in range(ord("a"), ord("z") + 1)}


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        ("text and ink disagree", {"mode": 3}),
        ("text and ink disagree", {"to_unicode": SHIFTED}),
        ("control characters", {"to_unicode": PRIVATE}),
        ("too little text", {"lines": ["42", "43 44 45"]}),
        ("letters spell nothing", {"lines": ["xvbn qwrt plkj hgfd", "mnbv zxcr lkjh trwq"]}),
        ("rotated page", {"rotate": 90}),
    ],
)
def test_an_unusable_page_is_dropped_and_counted(tmp_path, reason, options):
    write_pdf(tmp_path / "bad.pdf", **options)
    with pytest.raises(SkipSample, match=reason):
        read_page(tmp_path / "bad.pdf", 0)

    class OnlyThese(Materials):
        def pdf_pages(self, split):
            return [(tmp_path / "bad.pdf", 0), (write_pdf(tmp_path / "good.pdf"), 0)]

    pages, dropped = usable_pages(OnlyThese(), "train", 0, 10)
    assert pages == [(tmp_path / "good.pdf", 0)]
    assert dropped == {reason: 1}


def test_a_damaged_file_is_skipped(tmp_path):
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.4\nnothing more")
    with pytest.raises(SkipSample, match="not a readable PDF"):
        read_page(tmp_path / "cut.pdf", 0)
    with pytest.raises(SkipSample, match="not a readable page"):
        read_page(write_pdf(tmp_path / "one.pdf"), 7)


def test_characters_alone_can_condemn_a_text_layer():
    assert unusable(" ".join(LINES)) is None
    assert unusable(" ".join(LINES).replace("e", "\x05")) == "control characters"
    # A soft hyphen only breaks a line.
    assert unusable(" ".join(LINES).replace("quick", "qui\ufffeck").replace("jumps", "ju\x02mps")) is None


def test_without_pypdfium2_the_message_names_the_extra(tmp_path, monkeypatch):
    _pdf._pdfium.cache_clear()
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    try:
        with pytest.raises(MissingExtra, match=r"mm15\[pdf\]"):
            read_page(write_pdf(tmp_path / "a.pdf"), 0)
    finally:
        _pdf._pdfium.cache_clear()


def test_the_users_own_pdfs_become_rows(tmp_path):
    for number in range(12):
        write_pdf(tmp_path / f"{number}.pdf", lines=[f"Report {number}"[:20], *LINES])
    mine = [(path, page) for path, page in Materials(pdfs=tmp_path).pdf_pages("train") if path.parent == tmp_path]
    held = [path for path, _ in Materials(pdfs=tmp_path).pdf_pages("heldout") if path.parent == tmp_path]
    assert mine and len(mine) + len(held) == 12
    page = read_page(*mine[0])
    image, _ = crop_words(page, page.lines[1], 0, 2, 14.0, random.Random(0))
    assert isinstance(image, Image.Image) and image.width > image.height
