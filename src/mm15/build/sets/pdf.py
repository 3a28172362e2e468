"""PDFs → pages in the layout of PDFA, and what stands where on them: reading, finding, keys with values, tables.

Formats and their data sets (n rows of each, where the pages have so many):

- ``pdfa``: ``pages/NNNNN.tar`` with the PDFs as they are and ``json`` of words and lines (read by ocr-wds).
- ``docowl``: ``transcribe`` (a word, a line, a paragraph as cut out of the page, or the whole page), ``locate`` (text
  of a box, box of a text), ``tables-ocr`` (a table as Markdown): the wording and markup of DocStruct4M.
- ``llava``: ``key-values`` ("What is the ...?") and ``tables`` (the cell of a row and a column).
- ``ferret``: ``ground-text`` ("Where does it say ...?", and what stands in a box).

Only pages are used whose text layer agrees with what is drawn; the others are counted by reason. Pages are drawn with
their longest side ``size`` px. A row's rights are those of its PDF.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from PIL import Image

from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng
from mm15.build._page_parts import Parts, Rect, plain
from mm15.build._pdf import Line, crop_lines, crop_words, page_count, page_handle, read_page
from mm15.build._pdfa import Document, ShardWriter, pdfa_page
from mm15.build._sets import Side
from mm15.build.canvas import llava_row
from mm15.text.legible import sayable

FORMATS = ("pdfa", "docowl", "llava", "ferret")
N = 1000
SIZE = 1024
PAGES_EACH = 8
"""Pages that a document gives at least, where it has them: what a document costs is reading it."""
READ = {
    "word": "Read the word.",
    "line": "Read the line.",
    "paragraph": "Read the text.",
    "page": "Recognize text in the image.",
}
LOCATE = ("bbox2t_word", "t2bbox_line", "bbox2t_paragraph", "t2bbox_word", "bbox2t_line", "t2bbox_paragraph")


@dataclass(frozen=True, slots=True)
class PageTask:
    """A page and the numbers of the rows that it is to give."""

    document: Document
    page: int
    rows: range

    @property
    def address(self) -> str:
        return f"{self.document.path}#{self.page}"


@dataclass(slots=True)
class PageRows:
    """What a page gave: its record for the shard and rows by data set; or why it cannot be used."""

    task: PageTask
    reason: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def build(side: Side) -> None:
    """Write the data sets of one side."""
    (side.out / "images").mkdir()
    tasks = plan_pages(documents(side), side.n, side.seed)
    work = partial(page_rows, out=side.out, request=(side.seed, side.request.size, side.request.formats))
    rows: dict[str, list[dict[str, Any]]] = {}
    writer = ShardWriter(side.out / "pages") if side.wants("pdfa") else None
    pages = 0
    for document, group in groupby(side.each(work, tasks), key=lambda done: done.task.document):
        records: dict[int, dict[str, Any]] = {}
        for done in group:
            if done.reason:
                side.drop(done.reason, done.task.address)
                continue
            records[done.task.page] = done.record
            for name, made in done.rows.items():
                rows.setdefault(name, []).extend(made)
        pages += len(records)
        if writer and records:
            writer.add(document, records)
    if writer:
        writer.close()
        dpi = min(600, max(36, round(side.request.size * 72 / 842)))
        side.add("pages", pages, "ocr-wds", "ocr", path="pages/*.tar", options={"dpi": dpi})
    for name, format, category in (
        ("transcribe", "docowl-jsonl", "ocr"),
        ("locate", "docowl-jsonl", "ocr"),
        ("tables-ocr", "docowl-jsonl", "ocr"),
        ("key-values", "llava", "text_rich"),
        ("tables", "llava", "text_rich"),
        ("ground-text", "ferret-json", "refer_ground"),
    ):
        if side.wants(format.partition("-")[0]):
            side.add(name, rows.get(name, []), format, category)


def documents(side: Side) -> list[Document]:
    """The PDFs of this side; files that cannot be opened are dropped by name."""
    if not side.request.inputs:
        pages: dict[Path, list[int]] = {}
        for path, page in side.materials.pdf_pages(side.split):
            pages.setdefault(path, []).append(page)
        return [Document(path, path.stem, tuple(numbers)) for path, numbers in pages.items()]
    files = side.files(".pdf", fault=_fault)
    return [Document(file.path, file.key, tuple(range(page_count(file.path)))) for file in files]


def _fault(path: Path) -> str:
    """Why a PDF cannot be opened, empty where it can."""
    try:
        page_count(path)
    except SkipSample as skip:
        return skip.reason
    return ""


def plan_pages(documents: Sequence[Document], n: int, seed: int) -> list[PageTask]:
    """``n`` pages at most, from as many documents as give eight each, in the order of the documents; and n rows, spread
    evenly over them."""
    order = python_rng(seed, "documents").sample(range(len(documents)), len(documents))
    reach = list(accumulate(min(PAGES_EACH, len(documents[at].pages)) for at in order))
    chosen = sorted(order[: 1 + sum(pages < n for pages in reach)])
    # The same number from each, more where others have fewer.
    most, left, waiting = 0, n, sorted(len(documents[at].pages) for at in chosen)
    while waiting and left >= len(waiting):
        step = max(1, min(waiting[0] - most, left // len(waiting)))
        left -= step * len(waiting)
        most += step
        waiting = [count for count in waiting if count > most]
    places: list[tuple[Document, int]] = []
    for at in chosen:
        document = documents[at]
        count = min(len(document.pages), most)
        extra = 1 if left > 0 and len(document.pages) > most else 0
        left -= extra
        drawn = python_rng(seed, "pages", document.key).sample(document.pages, count + extra)
        places += [(document, page) for page in sorted(drawn)]
    starts = [place * n // len(places) for place in range(len(places) + 1)] if places else []
    return [PageTask(*place, range(starts[k], starts[k + 1])) for k, place in enumerate(places)]


def page_rows(task: PageTask, out: Path, request: tuple[int, int, tuple[str, ...]]) -> PageRows:
    """Everything that one page gives. Depends on its arguments alone."""
    seed, size, formats = request
    try:
        page = read_page(task.document.path, task.page)
    except SkipSample as skip:
        return PageRows(task, skip.reason)
    parts = Parts(page)
    if not parts.is_whole:
        return PageRows(task, "a line of text runs over the page's edge")
    maker = PageMaker(parts, task, out, size)
    done = PageRows(task, record=pdfa_page(maker.parts))
    key = (task.document.key, task.page)
    if "docowl" in formats:
        done.rows["transcribe"] = _some(maker.transcribe, task.rows, python_rng(seed, "transcribe", *key))
        done.rows["locate"] = _some(maker.locate, task.rows, python_rng(seed, "locate", *key))
        done.rows["tables-ocr"] = maker.tables_ocr(len(task.rows))
    if "llava" in formats:
        done.rows["key-values"] = maker.key_values(len(task.rows))
        done.rows["tables"] = maker.tables(len(task.rows), python_rng(seed, "tables", *key))
    if "ferret" in formats:
        done.rows["ground-text"] = _some(maker.ground, task.rows, python_rng(seed, "ground", *key))
    return done


def _some(make: Any, numbers: Iterable[int], rng: random.Random) -> list[dict[str, Any]]:
    made = (make(number, rng) for number in numbers)
    return [row for row in made if row is not None]


class PageMaker:
    """Rows of one page; the picture of the page is drawn when the first row needs it."""

    def __init__(self, parts: Parts, task: PageTask, out: Path, size: int) -> None:
        self.parts, self.out, self.size = parts, out, size
        self.name = f"images/{task.document.key}-{task.page:04d}"
        self.scale = size / max(parts.size)
        self._picture: Image.Image | None = None
        texts = [plain(line) for line in parts.lines]
        self.words = Counter(word for text in texts for word in text.split())
        self.text = "\n".join(texts)

    def picture(self) -> Image.Image:
        """The whole page; written when first asked for."""
        if self._picture is None:
            drawn = page_handle(self.parts.page).render(scale=self.scale).to_pil().convert("RGB")
            self._save(drawn, "")
            self._picture = drawn
            return drawn
        return self._picture

    def _save(self, picture: Image.Image, what: str) -> str:
        name = f"{self.name}{what}.png"
        picture.save(self.out / name, compress_level=6)
        return name

    def transcribe(self, number: int, rng: random.Random) -> dict[str, Any] | None:
        """A word, line or paragraph cut out, or the page; None where it has none that can be shown."""
        task = tuple(READ)[number % len(READ)]
        if task == "page":
            answer = self.text
            return self._docowl(task, READ[task], f"<doc> {answer} </doc>", "") if self._sayable(answer) else None
        found = self._pick(task, rng)
        if found is None:
            return None
        lines, start, stop = found
        x1, y1, x2, y2 = self.parts.box([word for line in lines for word in line[start:]])
        # As high as drawn at random, or as the picture's longest side allows.
        fits = (self.size - 24) * (y2 - y1) / len(lines) / max(x2 - x1, y2 - y1)
        height = min(rng.uniform(16.0, 40.0 if len(lines) == 1 else 24.0), fits)
        if task == "paragraph":
            picture, _ = crop_lines(self.parts.page, lines, height, rng)
            answer = "\n".join(plain(line) for line in lines)
        else:
            picture, _ = crop_words(self.parts.page, lines[0], start, stop, height, rng)
            answer = plain(lines[0][start:stop])
        if max(picture.size) > self.size:
            return None
        return self._docowl(task, READ[task], answer, f"-{number:06d}", picture)

    def _pick(self, kind: str, rng: random.Random) -> tuple[tuple[Line, ...], int, int] | None:
        """Words of one line, a line or a paragraph that stand apart from everything else."""
        for _ in range(20):
            if kind == "paragraph":
                if not self.parts.paragraphs:
                    return None
                lines = rng.choice(self.parts.paragraphs)
                first = rng.randrange(max(1, len(lines) - 5))
                # Whole paragraphs, or a paragraph's first or last lines: what is cut off must not show.
                lines = lines[first : first + 6]
                start, stop = 0, len(lines[0])
            else:
                if not self.parts.lines:
                    return None
                lines = (rng.choice(self.parts.lines),)
                start = rng.randrange(len(lines[0])) if kind == "word" else 0
                stop = start + 1 if kind == "word" else len(lines[0])
            words = [word for line in lines for word in line][start : stop if kind != "paragraph" else None]
            texts = [plain(line[start:stop] if kind == "word" else line) for line in lines]
            if all(map(sayable, texts)) and len(texts[0]) >= 2 and (kind == "word" or self.parts.alone(words, 1.0)):
                return lines, start, stop
        return None

    def locate(self, number: int, rng: random.Random) -> dict[str, Any] | None:
        """The text of a box, or the box of a text that stands once on the page."""
        task = LOCATE[number % len(LOCATE)]
        form, _, kind = task.partition("_")
        place = self._place(kind, form == "t2bbox", rng)
        if place is None:
            return None
        text, box = place
        picture = self.picture()
        sides = (picture.width, picture.height) * 2
        shares = [min(999, max(0, round(999 * edge / side))) for edge, side in zip(box, sides, strict=True)]
        if shares[0] >= shares[2] or shares[1] >= shares[3]:
            return None
        told = f"<bbox>{','.join(map(str, shares))}</bbox>"
        if form == "bbox2t":
            return self._docowl(task, f"Recognize the text in the bounding box {told}.", f"<ocr> {text} </ocr>", "")
        return self._docowl(task, f"Give the bounding box of the text <ocr> {text} </ocr>.", told, "")

    def _place(self, kind: str, unique: bool, rng: random.Random) -> tuple[str, list[float]] | None:
        """A text and its box in pixels of the page's picture."""
        for _ in range(10):
            found = self._pick(kind, rng)
            if found is None:
                return None
            lines, start, stop = found
            words = lines[0][start:stop] if kind != "paragraph" else [word for line in lines for word in line]
            text = plain(words) if kind != "paragraph" else "\n".join(map(plain, lines))
            once = self.words[text] == 1 if kind == "word" else self.text.count(text) == 1
            if once or not unique:
                return text, self._pixels(self.parts.box(words))
        return None

    def _pixels(self, box: Rect) -> list[float]:
        picture = self.picture()
        sides = (picture.width, picture.height) * 2
        return [round(min(max(edge * self.scale, 0), side), 1) for edge, side in zip(box, sides, strict=True)]

    def ground(self, number: int, rng: random.Random) -> dict[str, Any] | None:
        """Where a line or a word stands, or what stands in a box."""
        place = self._place(("line", "word")[number // 2 % 2], number % 2 == 0, rng)
        if place is None:
            return None
        text, box = place
        picture = self.picture()
        if number % 2 == 0:
            turn = (f'Where does it say "{text}"?', f"{text} <bbox_location0>")
            boxes: list[list] = [[], [box]]
        else:
            turn, boxes = ("What does it say at <bbox_location0>?", text), [[box], []]
        row = llava_row(
            f"ground-text/{number:06d}", "ground" if boxes[1] else "refer", f"{self.name}.png", [picture], [turn]
        )
        # A point names no text.
        return row | {"image_w": picture.width, "image_h": picture.height, "box_x1y1x2y2": boxes, "point_share": 0}

    def key_values(self, most: int) -> list[dict[str, Any]]:
        """One row per page with up to ``most`` questions, at most eight."""
        pairs = self.parts.pairs[: min(most, 8)]
        turns = [(f'What does it say after "{pair.key}:"?', pair.value) for pair in pairs]
        if not turns:
            return []
        picture = self.picture()
        row = llava_row(f"{self.name}/kv", "key_value", f"{self.name}.png", [picture], turns)
        return [row | {"value_boxes": [self._pixels(self.parts.box(pair.line)) for pair in pairs]}]

    def tables_ocr(self, most: int) -> list[dict[str, Any]]:
        """Tables as Markdown."""
        rows = []
        for k, grid in enumerate(self.parts.grids[:most]):
            head, *body = ("| " + " | ".join(row) + " |" for row in grid.cells)
            rule = "| " + " | ".join("---" for _ in grid.cells[0]) + " |"
            answer = "\n".join([head, rule, *body])
            picture = self._grid_picture(grid.lines)
            question = "Convert the picture to Markdown syntax."
            rows.append(self._docowl("table_parse", question, f"<md> {answer} </md>", f"-table{k}", picture))
        return rows

    def tables(self, most: int, rng: random.Random) -> list[dict[str, Any]]:
        """Up to four cells of every table, by row and column."""
        rows = []
        for k, grid in enumerate(self.parts.grids[:most]):
            labels = [row[0] for row in grid.cells]
            places = [
                (row, column)
                for row in range(len(labels))
                for column in range(1, len(grid.cells[0]))
                if labels.count(labels[row]) == 1
            ]
            asked = rng.sample(places, min(4, len(places)))
            if asked:
                turns = [(f'What stands in the row "{labels[r]}", column {c + 1}?', grid.cells[r][c]) for r, c in asked]
                picture = self._grid_picture(grid.lines)
                name = self._save(picture, f"-table{k}")
                row = llava_row(f"{self.name}/table{k}", "table_cell", name, [picture], turns)
                rows.append(row | {"cells": grid.cells})
        return rows

    def _grid_picture(self, lines: Sequence[Line]) -> Image.Image:
        x1, y1, x2, y2 = self.parts.box([word for line in lines for word in line])
        scale = min(self.scale * 1.5, self.size / max(x2 - x1 + 6, y2 - y1 + 6))
        width, height = self.parts.size
        cut = (max(0.0, x1 - 3), max(0.0, height - y2 - 3), max(0.0, width - x2 - 3), max(0.0, y1 - 3))
        return page_handle(self.parts.page).render(scale=scale, crop=cut).to_pil().convert("RGB")

    def _sayable(self, text: str) -> bool:
        return all(sayable(line) for line in text.split("\n"))

    def _docowl(
        self, task: str, question: str, answer: str, what: str, picture: Image.Image | None = None
    ) -> dict[str, Any]:
        shown = picture or self.picture()
        name = self._save(shown, what) if picture else f"{self.name}.png"
        return {
            "image": [name],
            "messages": [
                {"role": "user", "content": f"<|image|>{question}"},
                {"role": "assistant", "content": answer},
            ],
            "task_name": task,
            "dataset_name": "pdf",
            "width": shown.width,
            "height": shown.height,
        }
