"""Pictures of one word or one number: typeset in real typefaces, or cut out of real PDF pages.

A row of the OCR stage (docowl-jsonl), with the box of every glyph for the encoder's dense labels::

    {"image": ["images/words-ocr/000001.png"], "messages": [{"role": "user", "content": "<|image|>Read the word."},
     {"role": "assistant", "content": "hello"}], "task_name": "word", "dataset_name": "words-ocr", "width": 84,
     "height": 26, "chars": [["h", 6, 5, 15, 19], ...]}

No word of the held-out list stands on any training picture; held-out rows are typeset in typefaces training never saw.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image, ImageOps

from mm15.base.rng import python_rng, seed_of
from mm15.build._items import Form, Item, write_items
from mm15.build._pdf import PageReport, PageText, crop_words, read_page, text_of, usable_pages
from mm15.build._typeset import CharBox, Size, colors, draw_text, fade, fit_font, typefaces, wear
from mm15.build.canvas import BuildReport, photo_crop
from mm15.build.materials import Materials, Split

TASKS = {
    "word": "Read the word.",
    "words": "Read the words.",
    "page_word": "Read the word.",
    "number": "Read the number.",
}
"""Task → question. A ``page_word`` is cut out of a real page; ``words`` are several, on lines one below the other."""
ROWS_PER_PAGE = 16
"""Neighbouring rows come from one page, so that a worker opens it once."""

SHEET = ((54, 64), (45, 54))
"""Width and height of a word's picture: one tile of the miniature, in which a letter is about as large as a patch."""
WALL = ((116, 128), (88, 112))
"""The same of several words, for the OCR stage: letters of that size on the 2 × 2 tiles of each picture."""


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    form: Form = Form.SFT,
    page_share: float | None = None,
    name: str = "words",
    workers: int = 2,
) -> list[BuildReport]:
    """Write ``n`` rows to ``<name>.jsonl`` (llava) or ``<name>-ocr.jsonl`` (docowl-jsonl).

    OCR rows mostly show several words: more to read for the same pixels.

    Args:
        page_share: part of the rows that are cut out of PDF pages; by default 0.3 for training and 0 held out, which
            tests unseen words in unseen typefaces.

    Raises:
        MissingExtra: ``page_share`` is not 0 and pypdfium2 is not installed.
    """
    if page_share is None:
        page_share = 0.3 if split == "train" else 0.0
    pages, dropped = usable_pages(materials, split, seed, n) if page_share else ([], {})
    # The two forms are used in one recipe after another: they show different pictures.
    make_item = partial(
        make,
        split=split,
        seed=seed_of(seed, form, name),
        materials=materials,
        pages=pages,
        page_share=page_share,
        form=form,
    )
    report = write_items(out, name, n, make_item, form, workers)
    return [PageReport(report.name, report.rows, report.seconds, len(pages), dropped)]


def make(
    index: int,
    split: Split,
    seed: int,
    materials: Materials,
    pages: Sequence[tuple[Path, int]],
    page_share: float,
    form: Form = Form.SFT,
) -> Item:
    """Item ``index``: a function of its arguments alone."""
    rng = python_rng(seed, "words", split, index)
    if pages and rng.random() < page_share:
        held = held_words(materials) if split == "train" else frozenset()
        item = page_word(read_page(*pages[index // ROWS_PER_PAGE % len(pages)]), held, rng)
        if item is not None:
            return item
    if split == "train" and rng.random() < 0.12:
        digits = rng.randint(2, 5)
        text, task = str(rng.randrange(10 ** (digits - 1), 10**digits)), "number"
    else:
        text, task = rng.choice(materials.words(split)), "word"
        # Written words are mostly lower case; names and headings are not.
        case = rng.random()
        text = text.upper() if case < 0.04 else text.capitalize() if case < 0.12 else text
    texts = [text]
    paper = SHEET
    if task == "word" and form is Form.SFT and split == "train" and rng.random() < 0.6:
        texts += rng.choices(materials.words(split), k=rng.randint(1, 2))
        task = "words"
    elif task == "word" and form is Form.OCR:
        paper = WALL
        texts = [" ".join(rng.choices(materials.words(split), k=rng.randint(1, 2))) for _ in range(rng.randint(3, 5))]
        task = "words"
    fonts, photos = typefaces(materials, split), materials.photos(split)
    image, boxes = typeset(texts, fonts, photos, paper, rng)
    return Item(task, TASKS[task], " ".join(texts), image, boxes)


def typeset(
    texts: Sequence[str], fonts: Sequence[Path], photos: Sequence[Image.Image], paper_size: Size, rng: random.Random
) -> tuple[Image.Image, list[CharBox]]:
    """Words or numbers on a sheet, one below the other, with their char boxes."""
    (width, height) = (rng.randint(*side) for side in paper_size)
    font = fit_font(rng.choice(fonts), rng.randint(12, 15), texts, width - 8)
    if photos and rng.random() < 0.05:
        image, ink = fade(photo_crop(photos, width, height, rng), rng)
    else:
        ink, paper = colors(rng)
        image = Image.new("RGB", (width, height), paper)
    bold = font.size >= 13 and rng.random() < 0.25
    edges = [[round(edge) for edge in font.getbbox(text, anchor="ls")] for text in texts]
    free = height - sum(bottom - top for _, top, _, bottom in edges) - 4
    boxes: list[CharBox] = []
    y = 2
    for index, (text, (left, top, _, bottom)) in enumerate(zip(texts, edges, strict=True)):
        gap = rng.randint(0, max(0, free // (len(texts) - index)))
        free, y = free - gap, y + gap
        boxes += draw_text(image, text, rng.randint(2, 5) - left, y - top, font, ink, bold=bold)
        y += bottom - top
    return wear(image, rng), boxes


def page_word(page: PageText, held: frozenset[str], rng: random.Random) -> Item | None:
    """One word of 3-8 letters as it stands on a real page, or None if a few tries find no such word."""
    for _ in range(30):
        line = rng.choice(page.lines)
        at = rng.randrange(len(line))
        text = text_of(line[at : at + 1])
        if len(text) == 3 and rng.random() < 0.7:
            continue  # "the", "and", "for" would be a quarter of all rows
        if 3 <= len(text) <= 8 and text.isascii() and text.isalpha() and text.lower() not in held:
            image, boxes = crop_words(page, line, at, at + 1, rng.uniform(10.5, 13.5), rng)
            if image.width <= SHEET[0][0] and image.height <= 24:
                image, boxes = on_sheet(image, boxes, rng)
                return Item("page_word", TASKS["page_word"], text, repaint(image, rng), boxes)
    return None


def on_sheet(
    image: Image.Image, boxes: Sequence[list], rng: random.Random, paper: Size = SHEET
) -> tuple[Image.Image, list[list]]:
    """The picture with more of its paper around it."""
    width, height = (rng.randint(*side) for side in paper)
    width, height = max(width, image.width), max(height, image.height)
    left, top = rng.randint(0, min(4, width - image.width)), rng.randint(0, height - image.height)
    sheet = Image.new("RGB", (width, height), image.getpixel((0, 0)))
    sheet.paste(image, (left, top))
    return sheet, [[char, x1 + left, y1 + top, x2 + left, y2 + top] for char, x1, y1, x2, y2 in boxes]


def repaint(image: Image.Image, rng: random.Random) -> Image.Image:
    """Now and then the same page on other paper, in another ink; then wear."""
    if rng.random() < 0.15:
        ink, paper = colors(rng)
        image = ImageOps.colorize(image.convert("L"), ink, paper)
    return wear(image, rng)


@lru_cache(maxsize=8)
def held_words(materials: Materials) -> frozenset[str]:
    """Words that may stand on no training picture."""
    return frozenset(materials.words("heldout"))
