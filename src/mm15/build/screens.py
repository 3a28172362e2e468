"""Screens: real pages with real widgets in headless Chromium → pictures, element boxes and Ferret-UI's tasks.

Pages are our own (``_screen_pages.py``) or, with ``input``, a folder of yours with everything its pages need; nothing
is read from elsewhere, no network is there. Per screen a row in each of these files where it offers something to ask
(ferret-json, Ferret-UI's elementary tasks, 2404.05719)::

    screens_ocr.jsonl                    What does the text at <box> say?
    screens_icon_recognition.jsonl       Which icon is at <box>?
    screens_widget_classification.jsonl  What kind of element is <box>?
    screens_widget_listing.jsonl         List the elements of the screen.            → kind "text" <box>, ...
    screens_find_text.jsonl              Where is the text "Sign in"?                → <box>
    screens_find_icons.jsonl             Where are the search icons?                 → <box>, <box>
    screens_find_widget.jsonl            Where is the slider?                        → <box>
    {"id": "screens/ocr/0", "image": "screens/combined/000000.jpg", "image_w": 360, "image_h": 640, "task": "ocr",
     "conversations": [{"from": "human", "value": "<image>\\nWhat does the text at <bbox_location0> say?"},
                       {"from": "gpt", "value": "Sign in"}], "box_x1y1x2y2": [[[120, 300, 240, 340]], []]}

and three sets laid out as RICO's annotations are (rico-ui), in ``screens/``: ``screen_summaries.csv`` (screen2words),
``widget_captions.csv`` (what a control does, as its page says), ``rico_tap_annotations_idsonly.csv`` (0 = tappable, as
there; the column of human raters stays empty), with ``combined/<id>.jpg`` and view hierarchies ``combined/<id>.json``.

Rows and boxes depend on the seed and the browser's version; what a program may change of a picture is its noise.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from mm15.base.errors import ConfigError
from mm15.base.rng import python_rng, seed_of
from mm15.build._browser import Browser, PageError, find_browser
from mm15.build._screen_kit import SIZES
from mm15.build._screen_pages import make_page
from mm15.build._screen_tasks import TASKS, ask_of
from mm15.build._shots import Screen, take
from mm15.build._sources import write_sources
from mm15.build._view_hierarchy import ANNOTATIONS, Notes, notes_of, write_hierarchy, write_notes
from mm15.build.canvas import BuildReport
from mm15.build.materials import WORD_FOLDS, Materials, Split
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.io.jsonl import write_jsonl

FORMATS = ("ferret", "rico")
ENDINGS = (".html", ".htm", ".xhtml")
QUALITY = 92
"""JPEG: letters stay sharp."""
PLACES = 4
"""Most windows that one of your pages is scrolled through."""
FRESH = 200
"""Screens after which a browser is replaced; a long-lived one grows."""


@dataclass(frozen=True, slots=True)
class ScreensReport(BuildReport):
    """``screens`` pictures; ``dropped``: (reason, page) of the others; ``refused``: addresses that pages asked for and
    did not get, because they lie outside of their folders."""

    screens: int = 0
    dropped: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to make screens; picklable."""

    out: Path
    name: str
    split: Split
    seed: int
    materials: Materials
    pages: list[Path]
    roots: tuple[Path, ...]
    program: str
    windows: tuple[tuple[int, int], ...]
    hierarchies: bool


@dataclass(slots=True)
class Made:
    """One screen as a process hands it back: its rows, or why there are none."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: Notes | None = None
    dropped: tuple[str, str] | None = None
    """(reason, page)."""
    refused: list[str] = field(default_factory=list)


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    input: Path | None = None,
    also: Sequence[Path] = (),
    pages: Sequence[Path] | None = None,
    formats: Sequence[str] = FORMATS,
    size: int = 0,
    name: str = "screens",
    engine: Engine = ALL_CORES,
) -> list[ScreensReport]:
    """Write n screens and the rows about them.

    Args:
        input: a folder of your own HTML pages; of these one in ten is held out, by the hash of its bytes. Pages are
            scrolled through up to ``PLACES`` windows; more screens than that show them at other sizes.
        also: further folders that your pages read style sheets, scripts and pictures from.
        pages: pages below these folders, already chosen for this side, in place of all of ``input``.
        formats: what is written, of ``FORMATS``.
        size: longest side of a window in pixels; 0: as large as telephones are.
        engine: who works, each with a browser.

    Returns:
        One report per file of rows.

    Raises:
        ConfigError: no Chromium on this machine, no pages on this side of the folder, or no window so small.
    """
    start = time.perf_counter()
    program = find_browser()
    windows = tuple(sides for sides in SIZES if not size or max(sides) <= size)
    if not windows:
        raise ConfigError([f"the smallest window is {min(map(max, SIZES))} px high, but {size} is asked"], "screens")
    shown = list(pages or (_side(input, split) if input else ()))
    (out / name / "combined").mkdir(parents=True, exist_ok=True)
    roots = (*([input] if input else []), *also)
    job = Job(out, name, split, seed, materials, shown, roots, program, windows, "rico" in formats)
    step = min(FRESH, max(1, -(-n // engine.processes)))
    chunks = [range(first, min(first + step, n)) for first in range(0, n, step)]
    made = list(_all(job, chunks, engine))
    notes = [one.notes for one in made if one.notes]
    found: dict[str, int] = {}
    entries: list[dict[str, Any]] = []
    if "ferret" in formats:
        rows = {task: [one.rows[task] for one in made if task in one.rows] for task in TASKS}
        for task, listed in rows.items():
            write_jsonl(out / f"{name}_{task}.jsonl", listed)
            found[f"{name}-{task.replace('_', '-')}"] = len(listed)
        entries += _elementary(name)
    if "rico" in formats:
        found |= {f"{name}-{task}": count for task, count in write_notes(out / name, notes, split).items()}
        entries += _annotated(name, split)
    write_sources(out, [entry for entry in entries if found[entry["name"]]])
    seconds = time.perf_counter() - start
    dropped = tuple(one.dropped for one in made if one.dropped)
    refused = tuple(url for one in made for url in one.refused)
    return [ScreensReport(file, count, seconds, len(notes), dropped, refused) for file, count in found.items()]


def _all(job: Job, chunks: list[range], engine: Engine) -> Iterator[Made]:
    work = partial(_chunk, job)
    if engine.here or len(chunks) <= 1:
        yield from chain.from_iterable(map(work, chunks))
    else:
        name = "screens {0.start} to {0.stop}".format
        yield from chain.from_iterable(map_ordered(work, chunks, engine, name))


def _chunk(job: Job, indices: range) -> list[Made]:
    """Screens by number, in a browser of their own."""
    with tempfile.TemporaryDirectory(prefix="mm15-screens-") as folder:
        draft = Path(folder)
        roots = [draft, *job.roots]
        browser = Browser(roots, job.program)
        try:
            made = []
            for index in indices:
                try:
                    screen = _screen(job, browser, draft, index)
                except PageError as error:
                    shown = str(job.pages[index % len(job.pages)]) if job.pages else f"page {index}"
                    made.append(Made(dropped=(_kind_of(error), shown), refused=list(browser.refused)))
                    if "browser has ended" in str(error) or "no answer in time" in str(error):
                        browser.close()
                        browser = Browser(roots, job.program)
                    continue
                made.append(_rows(job, screen, index))
            return made
        finally:
            browser.close()


def _screen(job: Job, browser: Browser, draft: Path, index: int) -> Screen:
    rng = python_rng(job.seed, "screens", job.split, job.name, index)
    if job.pages:
        round_, number = divmod(index, len(job.pages))
        width, height = rng.choice(job.windows)
        return take(browser, job.materials.root, job.pages[number], width, height, round_ % PLACES)
    page = make_page(job.materials, job.split, index, rng, job.windows)
    file = draft / "page.html"
    file.write_text(page.html, encoding="utf-8")
    return take(browser, job.materials.root, file, page.width, page.height)


def _rows(job: Job, screen: Screen, index: int) -> Made:
    """The picture on disk, its hierarchy beside it, and every task's row."""
    stem = f"{job.name}/combined/{index:06d}"
    screen.picture.save(job.out / f"{stem}.jpg", quality=QUALITY, subsampling=0)
    if job.hierarchies:
        write_hierarchy(job.out / f"{stem}.json", screen, index)
    rows: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        rng = python_rng(job.seed, "screens", job.split, job.name, index, task)
        ask = ask_of(task, screen, rng)
        if ask is None:
            continue
        rows[task] = {
            "id": f"{job.name}/{task}/{index}",
            "image": f"{stem}.jpg",
            "image_w": screen.width,
            "image_h": screen.height,
            "conversations": [
                {"from": "human", "value": f"<image>\n{ask.question}"},
                {"from": "gpt", "value": ask.answer},
            ],
            "box_x1y1x2y2": [[list(box) for box in ask.asked], [list(box) for box in ask.answered]],
            "task": task,
        }
    noting = python_rng(job.seed, "screens", job.split, job.name, index, "notes")
    return Made(rows, notes_of(screen, index, noting), refused=screen.refused)


def _side(folder: Path, split: Split) -> list[Path]:
    """Pages of a folder on one side of the split."""
    if not folder.is_dir():
        raise ConfigError([f"no such folder: {folder}"], "screens")
    pages = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    if not pages:
        raise ConfigError([f"no page ({', '.join(ENDINGS)}) in {folder}"], "screens")
    held = [seed_of(0, "fold", hashlib.sha256(page.read_bytes()).hexdigest()) % WORD_FOLDS == 0 for page in pages]
    side = [page for page, out in zip(pages, held, strict=True) if out == (split == "heldout")]
    if not side:
        raise ConfigError(
            [f"none of the {len(pages)} pages in {folder} is on the side '{split}'; give more"], "screens"
        )
    return side


def _kind_of(error: PageError) -> str:
    """An error without the page's name, so that equal ones are counted together."""
    return str(error).rpartition(": ")[2]


def _elementary(name: str) -> list[dict[str, Any]]:
    return [
        {"name": f"{name}-{task.replace('_', '-')}", "path": f"{name}_{task}.jsonl", "format": "ferret-json",
         "category": "ui", "options": {"point_share": 0}}
        for task in TASKS
    ]  # fmt: skip


def _annotated(name: str, split: Split) -> list[dict[str, Any]]:
    side = "train" if split == "train" else "test"
    return [
        {"name": f"{name}-{task}", "path": f"{name}/{file}", "format": "rico-ui", "category": "ui",
         "options": {"task": task, "split": side}}
        for task, file in ANNOTATIONS.items()
    ]  # fmt: skip
