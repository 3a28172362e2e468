"""Pages and the text on them, from tars: PDFA and IDL (pixparse/pdfa-eng-wds, idl-wds), RenderedText. A page a sample.

The ``json`` member tells the layout:

- PDFA: ``{"pages": [{"lines": {"text": [...], "bbox": [[left, top, width, height], ...]}, "words": {...}}]}`` beside a
  ``pdf``. Boxes are shares of the page, from its top left corner. Lines are in reading order.
- IDL: ``{"pages": [{"text": [...], "bbox": [...], "poly": [...], "score": [...]}]}`` beside a multi-frame ``tif`` and a
  ``pdf``; the tif is used, whose pages agree with the text more often. The older ``ocr`` member is passed over.
- RenderedText: ``{"ocr_annotation": {"text": [...]}}`` beside a ``png``. Its other fields have no fixed names.

A page is a question (that of DocStruct4M) and its lines as the answer; without ``prompt`` it is a document. Where file
and json have different numbers of pages, the first ones that both have are used; ``meta`` tells both numbers, and why
other pages of the document were passed over (``skipped_pages``). ``meta["boxes"]`` has a box in pixels for every line,
null where the stated one is empty or no box.

Example rows:
{"__key__": "0001", "png": "0001.png", "json": {"ocr_annotation": {"text": ["First line", "and the second."]}}}
{"__key__": "0002", "png": "0002.png", "json": {"ocr_annotation": {"text": ["Total 12.50"], "font": ["Lato"]}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import (
    Box,
    ImagePart,
    MediaRef,
    Message,
    Part,
    RegionPart,
    Sample,
    TextPart,
    assistant,
    document,
    user,
)
from mm15.datasets._context import RowContext
from mm15.images.pixels import frame_sizes
from mm15.io.media import MAX_BYTES
from mm15.text.legible import unusable

MANY = True
PAGED = ("tif", "tiff", "pdf")
PICTURES = ("png", "jpg", "jpeg", "webp")


class Options(Strict):
    """What a recipe may say about pages."""

    joiner: str = "\n"
    """What stands between two lines. The published loader of Idefics2 joins those of PDFA and IDL with a space."""
    prompt: str = "Recognize text in the image."
    """The question; empty: none, a page is a document of picture and trained text."""
    boxes: bool = False
    """Write every line's box after it. RenderedText has none that could be read."""
    file: Literal["auto", "tif", "pdf"] = "auto"
    """Which file pages are drawn from, where a document has both; by default the tif."""
    dpi: int = Field(default=150, ge=36, le=600)
    """How finely pages of a PDF are drawn."""
    check_text: bool = False
    """Pass over pages whose characters cannot be trusted (``mm15.text.legible``), and those with hardly any text."""
    max_bytes: int = Field(default=MAX_BYTES, gt=0)
    """The largest file and json that are read."""


Line = tuple[str, Box | None]


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per page that has text.

    Raises:
        SkipSample: no json or picture member, one that cannot be read or is locked, or no page that can be used.
        MissingExtra: a PDF, and pypdfium2 is not installed.
    """
    options: Options = context.options or Options()
    record = context.json(row.get("json"), options.max_bytes)
    if not isinstance(record, dict):
        raise SkipSample(f"the json of a document must be an object, found {type(record).__name__}")
    if "ocr_annotation" in record:
        pages: Any = [record["ocr_annotation"]]
        images = [context.image(row[_member(row, PICTURES)])]
        has_boxes = False
    elif "pages" in record:
        pages = record["pages"]
        images = _page_images(row, context, options)
        has_boxes = True
    else:
        raise SkipSample(f"the json has neither 'pages' nor 'ocr_annotation'; it has: {', '.join(record) or 'nothing'}")
    if not isinstance(pages, list):
        raise SkipSample(f"'pages' must be a list, found {type(pages).__name__}")
    kept: list[tuple[int, ImagePart, list[Line]]] = []
    skipped: dict[int, str] = {}
    for number, (page, image) in enumerate(zip(pages, images, strict=False)):
        try:
            lines = _lines(page, image, has_boxes, options.boxes)
            if options.check_text and (reason := unusable("\n".join(text for text, _ in lines))):
                raise SkipSample(reason)
            kept.append((number, image, lines))
        except SkipSample as skip:
            skipped[number] = skip.reason
    if not kept:
        reasons = "; ".join(f"page {number}: {reason}" for number, reason in list(skipped.items())[:3])
        there = f"{len(images)} in the file, {len(pages)} in the json"
        raise SkipSample(f"no page can be used ({there}){reasons and ': '}{reasons}")
    about = {"__key__": row.get("__key__", ""), "file_pages": len(images), "json_pages": len(pages)}
    if skipped:
        about["skipped_pages"] = skipped
    return [
        context.sample(
            {**about, "page": page, "boxes": [box and [box.x1, box.y1, box.x2, box.y2] for _, box in lines]},
            _messages(image, lines, options),
            set() if has_boxes else {"boxes"},
            number,
        )
        for number, (page, image, lines) in enumerate(kept)
    ]


def _member(row: Mapping[str, Any], wanted: tuple[str, ...]) -> str:
    found = next((name for name in wanted if row.get(name) is not None), "")
    if not found:
        members = ", ".join(name for name in row if name != "__key__")
        raise SkipSample(f"no member {' or '.join(wanted)}; members: {members or 'none'}")
    return found


def _page_images(row: Mapping[str, Any], context: RowContext, options: Options) -> list[ImagePart]:
    """Every page with its size; (0, 0) where it cannot be opened."""
    wanted = {"auto": (*PAGED, *PICTURES), "tif": ("tif", "tiff"), "pdf": ("pdf",)}[options.file]
    name = _member(row, wanted)
    ref: MediaRef = context.media(row[name])
    dpi = options.dpi if name == "pdf" else 0
    sizes = frame_sizes(context.read(ref, options.max_bytes), str(ref), dpi=dpi)
    return [ImagePart(replace(ref, frame=frame, dpi=dpi), *size) for frame, size in enumerate(sizes)]


def _lines(page: object, image: ImagePart, has_boxes: bool, boxes_needed: bool) -> list[Line]:
    """The lines of a page that have text.

    Raises:
        SkipSample: there are none, lists do not match, or the page cannot be opened.
    """
    listed = page.get("lines", page) if isinstance(page, dict) else None
    texts = listed.get("text") if isinstance(listed, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SkipSample("no list 'text' of its lines")
    if has_boxes and not image.width:
        raise SkipSample("the page cannot be read, or is too large to be drawn")
    stated = listed.get("bbox") if has_boxes and isinstance(listed, dict) else None
    if stated is not None and (not isinstance(stated, list) or len(stated) != len(texts)):
        raise SkipSample(f"'bbox' must list a box for each of the {len(texts)} lines")
    boxes = [_box(numbers, image) for numbers in stated] if stated is not None else [None] * len(texts)
    lines = [(text, box) for text, box in zip(texts, boxes, strict=True) if text.strip()]
    if not lines:
        raise SkipSample("no text")
    if boxes_needed and any(box is None for _, box in lines):
        raise SkipSample("a line without a usable box")
    return lines


def _box(numbers: object, image: ImagePart) -> Box | None:
    """Left, top, width, height in shares of the page → pixels, cut at the edges; None where nothing is left."""
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(type(n) in (int, float) for n in numbers):
        return None
    left, top, width, height = numbers
    x1, x2 = (min(max(share, 0.0), 1.0) * image.width for share in (left, left + width))
    y1, y2 = (min(max(share, 0.0), 1.0) * image.height for share in (top, top + height))
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _messages(image: ImagePart, lines: list[Line], options: Options) -> list[Message]:
    parts: list[Part] = []
    for number, (text, box) in enumerate(lines):
        parts.append(TextPart(f"{options.joiner}{text}" if number else text))
        if options.boxes and box is not None:
            parts += [TextPart(" "), RegionPart(box)]
    if not options.boxes:
        parts = [TextPart(options.joiner.join(text for text, _ in lines))]
    if options.prompt:
        return [user(image, options.prompt), assistant(*parts)]
    return [document(image, *parts)]
