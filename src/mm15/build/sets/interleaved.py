"""PDFs and HTML manuals → documents with their figures in place; and sets of several pictures for instruction tuning.

Formats and their data sets, up to n rows of each:

- ``obelics``: ``documents`` (interleaved): ``images`` and ``texts`` side by side as in OBELICS, pictures as files of
  the folder. A document is four pages of a PDF, or up to 8,000 characters of an HTML page, and has a figure.
- ``llava``: ``in-context`` (multi_image): one to four worked examples, then a picture alone (as ICL-instruct).
- ``messages``: ``captions-interleaved`` (multi_image): several pictures, each told in its turn (as interleaved COCO
  captions); every other row tells captioned figures of the documents, where there are four or more.

Pictures for examples are composed of shipped cut-outs and photographs. HTML pictures are read from inside the input
folder only; network addresses, SVG and icons are left out and counted. Files are read in a random order until there
are n documents.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng
from mm15.build._composed import Composed, compose, listed, plural, save_picture
from mm15.build._cut_outs import Stock
from mm15.build._figures import read_pages
from mm15.build._manuals import Block, Figure, Heading, read_html
from mm15.build._pdf import page_count
from mm15.build._sets import Side
from mm15.build.canvas import listing, llava_row
from mm15.text.legible import MARKERS

FORMATS = ("obelics", "llava", "messages")
N = 500
SIZE = 448
HTML = (".html", ".htm", ".xhtml")
PAGES = 4
MAX_CHARS = 8000
SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or some pages of a PDF, that is read at once."""

    path: Path
    name: str
    pages: tuple[int, ...] = ()


@dataclass(slots=True)
class Read:
    """Documents made of a piece, the figures with captions in them, and what was left out."""

    rows: list[dict[str, Any]]
    captioned: list[tuple[str, str, int, int]]
    dropped: list[tuple[str, str]]


def build(side: Side) -> None:
    """Write the data sets of one side."""
    (side.out / "images").mkdir()
    captioned: list[tuple[str, str, int, int]] = []
    if side.wants("obelics") or side.wants("messages"):
        rows: list[dict[str, Any]] = []
        work = partial(read_piece, out=side.out, size=2 * side.request.size)
        waiting = pieces(side)
        python_rng(side.seed, "documents").shuffle(waiting)
        batch = max(16, side.n // 4)
        while waiting and len(rows) < side.n:
            for read in side.each(work, waiting[:batch]):
                rows += read.rows
                captioned += read.captioned
                side.drop_all(read.dropped)
            waiting = waiting[batch:]
        if side.wants("obelics"):
            side.add("documents", rows[: side.n], "interleaved", "interleaved")
    materials = side.materials
    files = {name: tuple(materials.picture_files(name, side.split)) for name in sorted(materials.facts)}
    stock = Stock({name: found for name, found in files.items() if found}, tuple(materials.photo_files(side.split)))
    given = {"out": side.out, "stock": stock, "seed": side.seed, "size": side.request.size}
    if side.wants("llava"):
        side.add("in-context", list(side.each(partial(example_row, **given), range(side.n))), "llava", "multi_image")
    if side.wants("messages"):
        work = partial(caption_row, captioned=captioned, **given)
        side.add("captions-interleaved", list(side.each(work, range(side.n))), "messages", "multi_image")


def pieces(side: Side) -> list[Piece]:
    """What is read, in the order of names; PDFs in groups of four pages."""
    found: list[Piece] = []
    if not side.request.inputs:
        pages: dict[Path, list[int]] = {}
        for path, page in side.materials.pdf_pages(side.split):
            pages.setdefault(path, []).append(page)
        for path, numbers in pages.items():
            found += _groups(path, path.name, numbers)
        return found
    for file in side.files(".pdf", *HTML):
        if file.name.lower().endswith(HTML):
            found.append(Piece(file.path, file.name))
            continue
        try:
            found += _groups(file.path, file.name, range(page_count(file.path)))
        except SkipSample as skip:
            side.drop(skip.reason, str(file.path))
    return found


def _groups(path: Path, name: str, pages: Sequence[int]) -> list[Piece]:
    return [Piece(path, name, tuple(pages[first : first + PAGES])) for first in range(0, len(pages), PAGES)]


def read_piece(piece: Piece, out: Path, size: int) -> Read:
    """The documents of a piece; their pictures are written under the hash of their bytes."""
    read = Read([], [], [])
    try:
        if piece.pages:
            blocks, read.dropped = read_pages(piece.path, piece.pages, size)
        else:
            root = piece.path.parents[len(PurePosixPath(piece.name).parts) - 1]
            blocks, read.dropped = read_html(piece.path, root)
    except SkipSample as skip:
        read.dropped = [(skip.reason, skip.address)]
        return read
    where = f"{piece.path}#{piece.pages[0]}" if piece.pages else str(piece.path)
    for number, document in enumerate(_documents(blocks)):
        figures = [block for block in document if isinstance(block, Figure)]
        if not figures or len(figures) == len(document):
            read.dropped.append(("text without a figure" if not figures else "a figure without text", where))
            continue
        named = {"document": piece.name, "pages": list(piece.pages), "part": number}
        read.rows.append(_row(document, named, out))
        for figure in figures:
            if len(figure.caption.split()) >= 3 and not MARKERS.search(figure.caption):
                read.captioned.append((_save(figure, out), figure.caption, figure.width, figure.height))
    return read


def _documents(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Cut where a document would grow too long, and in front of a heading where it is half full."""
    document: list[Block] = []
    length = 0
    for block in blocks:
        more = 0 if isinstance(block, Figure) else len(_text(block))
        if document and (length + more > MAX_CHARS or (isinstance(block, Heading) and length > MAX_CHARS / 2)):
            yield document
            document, length = [], 0
        document.append(block)
        length += more
    if document:
        yield document


def _text(block: Block) -> str:
    return block.text if isinstance(block, Heading) else block if isinstance(block, str) else ""


def _row(document: Sequence[Block], named: dict[str, Any], out: Path) -> dict[str, Any]:
    """A row of OBELICS; neighbouring texts stand together, a blank line between."""
    images: list[str | None] = []
    texts: list[str | None] = []
    metadata: list[dict[str, Any] | None] = []
    sizes: list[tuple[int, int]] = []
    for block in document:
        if isinstance(block, Figure):
            name = _save(block, out)
            images.append(name)
            texts.append(None)
            sizes.append((block.width, block.height))
            metadata.append(
                {
                    "src": block.source,
                    "formatted_filename": name,
                    "alt_text": block.caption,
                    "original_width": block.width,
                    "original_height": block.height,
                }
            )
        elif texts and texts[-1] is not None:
            texts[-1] += f"\n\n{_text(block)}"
        else:
            images.append(None)
            texts.append(_text(block))
            metadata.append(None)
    return {
        "images": images,
        "texts": texts,
        "metadata": json.dumps(metadata),
        "general_metadata": json.dumps(named),
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
    }


def _save(figure: Figure, out: Path) -> str:
    suffix = next((ending for start, ending in SUFFIXES.items() if figure.data.startswith(start)), "img")
    name = f"images/{hashlib.sha256(figure.data).hexdigest()[:16]}.{suffix}"
    path = out / name
    if not path.exists():
        # Two processes may write the same picture: each under a name of its own, then renamed.
        draft = path.with_name(f".{path.name}.{random.getrandbits(32):08x}")
        draft.write_bytes(figure.data)
        draft.replace(path)
    return name


def _tell(scene: Composed, rng: random.Random) -> str:
    told = listing(listed(scene))
    return f"{told[:1].upper()}{told[1:]}."


def _kinds(names: Sequence[str], rng: random.Random) -> dict[str, Callable[[Composed], tuple[str, str] | None]]:
    """Task → question and answer about a scene; None where the scene does not fit. One choice for a whole row."""
    name = rng.choice(sorted(names))
    return {
        "caption": lambda scene: ("Describe the picture.", _tell(scene, rng)),
        "count_all": lambda scene: ("How many things are there?", str(len(scene.placed))),
        "count": lambda scene: (
            (f"How many {plural(name)} are there?", str(scene.counts[name])) if _askable(scene, name, rng) else None
        ),
        "name": lambda scene: ("What is the largest thing?", largest) if (largest := _largest(scene)) else None,
        "left": lambda scene: (
            ("What lies furthest to the left?", scene.placed[0].thing.name) if _alone_left(scene) else None
        ),
    }


def _askable(scene: Composed, name: str, rng: random.Random) -> bool:
    """Most scenes lack most names: only now and then is the answer none."""
    return name in scene.counts or (bool(scene.absent([name])) and rng.random() < 0.04)


def _largest(scene: Composed) -> str:
    """The name of what is largest by far; empty where it is not clear."""
    sides = sorted(((one.box[2] - one.box[0]) * (one.box[3] - one.box[1]), one.thing.name) for one in scene.placed)
    return sides[-1][1] if len(sides) == 1 or sides[-1][0] > 1.4 * sides[-2][0] else ""


def _alone_left(scene: Composed) -> bool:
    if len(scene.placed) < 2:
        return False
    first, second = sorted(item.box[0] for item in scene.placed)[:2]
    return second - first > 0.1 * scene.size[0] and scene.placed[0].box[0] == first


TASKS = ("caption", "count_all", "count", "name", "left")


def example_row(index: int, out: Path, stock: Stock, seed: int, size: int) -> dict[str, Any]:
    """One to four pictures with question and answer, then a picture with the question alone. Tasks take turns; the
    question is told with the examples only, so that they must be looked at."""
    rng = python_rng(seed, "in-context", index)
    task = TASKS[index % len(TASKS)]
    shots = 1 + index // len(TASKS) % 4
    ask = _kinds(stock.names, rng)[task]
    scenes: list[Composed] = []
    turns: list[tuple[str, str]] = []
    while len(turns) <= shots:
        scene = compose(stock, size, rng)
        if turn := ask(scene):
            scenes.append(scene)
            turns.append(turn)
    pictures = [scene.picture() for scene in scenes]
    names = [save_picture(picture, out, f"images/shot-{index:06d}-{k}.jpg") for k, picture in enumerate(pictures)]
    shown = "\n\n".join(f"<image>\n{question}\n{answer}" for question, answer in turns[:-1])
    row = llava_row(f"in-context/{index:06d}", task, names, pictures, [("", turns[-1][1])])
    row["conversations"][0]["value"] = f"{shown}\n\n<image>\n{turns[-1][0]}"
    return row | {"shots": shots, "answers": [answer for _, answer in turns], "objects": [_objects(s) for s in scenes]}


def _objects(scene: Composed) -> list[dict[str, Any]]:
    return [{"name": item.thing.name, "box": list(item.box)} for item in scene.placed]


def caption_row(
    index: int, out: Path, stock: Stock, seed: int, size: int, captioned: Sequence[tuple[str, str, int, int]]
) -> dict[str, Any]:
    """Two to four pictures; the answer tells every one of them, by number."""
    rng = python_rng(seed, "captions", index)
    count = rng.randint(2, 4)
    counted = Counter(caption for _, caption, _, _ in captioned)
    usable = [one for one in dict.fromkeys(captioned) if counted[one[1]] == 1]
    objects: list[Any] = []
    if index % 2 and len(usable) >= 4:
        chosen = rng.sample(usable, count)
        names, told = [one[0] for one in chosen], [one[1] for one in chosen]
        sizes = [(one[2], one[3]) for one in chosen]
        question = "These are figures of a manual. What does each of them show?"
    else:
        scenes = [compose(stock, size, rng) for _ in range(count)]
        pictures = [scene.picture() for scene in scenes]
        names = [save_picture(one, out, f"images/told-{index:06d}-{k}.jpg") for k, one in enumerate(pictures)]
        told, sizes = [_tell(scene, rng) for scene in scenes], [picture.size for picture in pictures]
        question = "Describe each picture in a sentence."
        objects = [_objects(scene) for scene in scenes]
    answer = "\n".join(f"Picture {k}: {text}" for k, text in enumerate(told, 1))
    return {
        "id": f"captions-interleaved/{index:06d}",
        "images": names,
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "messages": [
            {"role": "user", "content": "<image>" * count + f"\n{question}"},
            {"role": "assistant", "content": answer},
        ],
        "objects": objects,
    }
