"""Lines and blocks of real PDF pages, small typeset pages, and key-value blocks.

OCR stage (docowl-jsonl): ``pages-ocr`` and ``kv-ocr``. Conversations (llava, category text_rich): ``pages``, ``kv``::

    {"id": "kv/000001", "image": "images/kv/000001.png", "width": 96, "height": 40, "conversations":
     [{"from": "human", "value": "<image>\\nWhat is the name?"}, {"from": "gpt", "value": "otter"}], "task": "kv",
     "chars": [...]}

Tasks: ``line`` "Read the line.", ``block`` "Read the text.", ``title`` "What is the title?", ``last_line`` "What does
the last line say?", ``kv`` "What is the <key>?" and, in the OCR stage only, ``bbox2t_word`` "Which word is at
<bbox>x1,y1,x2,y2</bbox>?" (0-999). No held-out word stands on any training picture.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image

from mm15.base.errors import DataError
from mm15.base.rng import python_rng, seed_of
from mm15.build._items import Form, Item, write_items
from mm15.build._pdf import PageReport, PageText, crop_lines, crop_words, flush_block, read_page, text_of, usable_pages
from mm15.build._typeset import CharBox, fit_font, sheet, typefaces
from mm15.build.canvas import BuildReport
from mm15.build.materials import Materials, Split
from mm15.build.words import ROWS_PER_PAGE, SHEET, WALL, held_words, on_sheet, repaint

OCR_TASKS = ("block", "line", "block", "title", "block", "bbox2t_word")
SFT_TASKS = ("line", "title", "last_line")
QUESTIONS = {
    "line": "Read the line.",
    "block": "Read the text.",
    "title": "What is the title?",
    "last_line": "What does the last line say?",
}
WORD_KEYS = ("name", "item", "owner", "team", "label", "brand")
NUMBER_KEYS = ("code", "price", "size", "page", "room", "total")
LEGIBLE = frozenset(string.ascii_letters + string.digits + " .,;:!?'\"()-/")
MAX_LINE = 18
"""Longest line in characters."""
WIDTH = 128
"""Widest picture: two tiles of the miniature."""


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    form: Form = Form.SFT,
    page_share: float = 0.6,
    workers: int = 2,
) -> list[BuildReport]:
    """Write ``n`` rows to each of ``pages`` and ``kv`` (``-ocr`` in the OCR form).

    Args:
        page_share: part of the lines and blocks that are cut out of PDF pages; the others are typeset.

    Raises:
        MissingExtra: ``page_share`` is not 0 and pypdfium2 is not installed.
        DataError: no text of this side has a line that may be shown.
    """
    pages, dropped = usable_pages(materials, split, seed, n) if page_share else ([], {})
    tasks = OCR_TASKS if form is Form.OCR else SFT_TASKS
    # The two forms are used in one recipe after another: they show different pictures.
    seed = seed_of(seed, form)
    make_page = partial(
        make, tasks=tasks, split=split, seed=seed, materials=materials, pages=pages, page_share=page_share
    )
    report = write_items(out, "pages", n, make_page, form, workers)
    make_kv = partial(kv_item, split=split, seed=seed, materials=materials, form=form)
    return [
        PageReport(report.name, report.rows, report.seconds, len(pages), dropped),
        write_items(out, "kv", n, make_kv, form, workers),
    ]


def make(
    index: int,
    tasks: Sequence[str],
    split: Split,
    seed: int,
    materials: Materials,
    pages: Sequence[tuple[Path, int]],
    page_share: float,
) -> Item:
    """Item ``index`` of ``pages``: a function of its arguments alone. Tasks take turns."""
    rng = python_rng(seed, "pages", split, *tasks, index)
    task = tasks[index % len(tasks)]
    held = held_words(materials) if split == "train" else frozenset()
    if task in ("line", "block") and pages and rng.random() < page_share:
        page = read_page(*pages[index // ROWS_PER_PAGE % len(pages)])
        item = page_line(page, held, rng) if task == "line" else page_block(page, held, rng)
        # A running head stands on the pages of both sides: held out, only what one page says is asked.
        if item is not None and (split == "train" or not on_several(item.answer, tuple(pages))):
            return item
    paragraphs = materials.paragraphs(split)
    if task == "line":
        lines = wrap(paragraphs, 1, MAX_LINE, held, rng)
    elif task == "block":
        lines = wrap(paragraphs, rng.randint(3, 5), MAX_LINE, held, rng)
    else:
        title = " ".join(rng.sample(materials.words(split), rng.randint(1, 2))).capitalize()
        lines = [title, *wrap(paragraphs, rng.randint(1, 3), MAX_LINE, held, rng)]
    path = rng.choice(typefaces(materials, split))
    body = fit_font(path, rng.randint(10, 12), lines, WIDTH - 20)
    heading = body if task in ("line", "block") else fit_font(path, round(body.size) + 3, lines[:1], WIDTH - 20)
    image, boxes = sheet([(line, body if at else heading) for at, line in enumerate(lines)], rng, least=WALL)
    question, answer = _ask(task, lines, boxes, image, rng)
    return Item(task, question, answer, image, [box for line in boxes for box in line])


def _ask(
    task: str, lines: Sequence[str], boxes: Sequence[Sequence[CharBox]], image: Image.Image, rng: random.Random
) -> tuple[str, str]:
    if task == "bbox2t_word":
        row = rng.randrange(len(lines))
        words = lines[row].split()
        at = rng.randrange(len(words))
        # Spaces have no box: the chars of the words before come first.
        first = sum(map(len, words[:at]))
        glyphs = boxes[row][first : first + len(words[at])]
        x1, y1 = min(g[1] for g in glyphs) / image.width, min(g[2] for g in glyphs) / image.height
        x2, y2 = max(g[3] for g in glyphs) / image.width, max(g[4] for g in glyphs) / image.height
        norm = (min(999, max(0, round(999 * edge))) for edge in (x1, y1, x2, y2))
        return f"Which word is at <bbox>{','.join(map(str, norm))}</bbox>?", words[at]
    answer = {"title": lines[0], "last_line": lines[-1]}.get(task, "\n".join(lines))
    return QUESTIONS[task], answer


def kv_item(index: int, split: Split, seed: int, materials: Materials, form: Form = Form.SFT) -> Item:
    """Lines "key: value"; asks for one value, in the OCR stage for everything."""
    rng = python_rng(seed, "kv", split, index)
    is_ocr = form is Form.OCR
    keys = rng.sample(WORD_KEYS + NUMBER_KEYS, rng.randint(3, 5) if is_ocr else 2)
    pairs = {key: _value(key, materials.words(split), rng) for key in keys}
    # On a narrow slip the value stands below its key.
    lines = [f"{key}: {value}" for key, value in pairs.items()]
    if not is_ocr:
        lines = [part for line in lines for part in line.split(" ")]
    path = rng.choice(typefaces(materials, split))
    font = fit_font(path, rng.randint(12, 14), lines, WIDTH - 20) if is_ocr else fit_font(path, 10, lines, 56)
    image, boxes = sheet([(line, font) for line in lines], rng, gap=0, least=WALL if is_ocr else SHEET)
    chars = [box for line in boxes for box in line]
    if is_ocr:
        return Item("kv_text", QUESTIONS["block"], "\n".join(lines), image, chars)
    asked = rng.choice(keys)
    return Item("kv", f"What is the {asked}?", pairs[asked], image, chars)


def _value(key: str, words: Sequence[str], rng: random.Random) -> str:
    if key in WORD_KEYS:
        return rng.choice(words)
    digits = rng.randint(1, 4)
    return str(rng.randrange(10 ** (digits - 1), 10**digits))


def page_line(page: PageText, held: frozenset[str], rng: random.Random) -> Item | None:
    """Two or more neighbouring words of a real line, or None if a few tries find none that may be shown."""
    for _ in range(30):
        line = rng.choice(page.lines)
        start = rng.randrange(len(line))
        stop = start + 1
        while stop < len(line) and len(text_of(line[start : stop + 1])) <= rng.randint(11, MAX_LINE):
            stop += 1
        text = text_of(line[start:stop])
        if stop - start >= 2 and len(text) >= 10 and may_show(text, held):
            image, boxes = crop_words(page, line, start, stop, rng.uniform(9.5, 12.0), rng)
            if image.width <= WIDTH:
                image, boxes = on_sheet(image, boxes, rng, WALL)
                return Item("line", QUESTIONS["line"], text, repaint(image, rng), boxes)
    return None


def page_block(page: PageText, held: frozenset[str], rng: random.Random) -> Item | None:
    """The beginning of three or four real lines, or None if a few tries find none that may be shown."""
    for _ in range(30):
        block = flush_block(page, rng.randint(3, 4), MAX_LINE, rng)
        lines = [text_of(line) for line in block or ()]
        if block and all(len(line) >= 6 and may_show(line, held) for line in lines):
            image, boxes = crop_lines(page, block, rng.uniform(9.5, 12.0), rng)
            if image.width <= WIDTH and image.height <= WIDTH:
                image, boxes = on_sheet(image, boxes, rng, WALL)
                return Item("block", QUESTIONS["block"], "\n".join(lines), repaint(image, rng), boxes)
    return None


def on_several(text: str, pages: tuple[tuple[Path, int], ...]) -> bool:
    """Whether a text stands on more than one of these pages, in one line."""
    return sum(text in said for said in _said(pages)) > 1


@lru_cache(maxsize=2)
def _said(pages: tuple[tuple[Path, int], ...]) -> list[str]:
    return ["\n".join(map(text_of, read_page(*page).lines)) for page in pages]


def may_show(text: str, held: frozenset[str]) -> bool:
    """Whether a text has only characters a reader can tell apart when small, mostly letters, and no held-out word."""
    letters = sum(char.isalpha() or char == " " for char in text)
    words = (word.strip(string.punctuation).lower() for word in text.replace("-", " ").split())
    return LEGIBLE.issuperset(text) and letters >= 0.7 * len(text) and not any(word in held for word in words)


def wrap(paragraphs: Sequence[str], count: int, longest: int, held: frozenset[str], rng: random.Random) -> list[str]:
    """``count`` lines of running text from a random place of a random paragraph, each of 4 to ``longest`` characters.

    Raises:
        DataError: none was found that may be shown.
    """
    for _ in range(1000):
        words = rng.choice(paragraphs).split()
        at = rng.randrange(len(words))
        lines: list[str] = []
        for _ in range(count):
            taken = words[at : at + 1]
            while at + len(taken) < len(words) and len(" ".join(taken)) + 1 + len(words[at + len(taken)]) <= longest:
                taken.append(words[at + len(taken)])
            at += len(taken)
            lines.append(" ".join(taken))
        if all(4 <= len(line) <= longest and may_show(line, held) for line in lines):
            return lines
    raise DataError(f"no paragraph has {count} lines of 4 to {longest} legible characters without held-out words")
