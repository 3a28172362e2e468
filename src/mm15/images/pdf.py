"""Pages of a PDF as pictures, with pdfium (the optional package of the extra ``pdf``): measured, then drawn.

What a page shows is its crop box, turned as the page says; one PDF point is 1/72 inch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from PIL import Image

from mm15.base.errors import MissingExtra, PictureError


@lru_cache(maxsize=1)
def _pdfium() -> Any:
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra("pypdfium2", "pdf", "drawing PDF pages") from error
    return pypdfium2


def page_sizes(data: bytes, dpi: int, name: str = "PDF") -> list[tuple[int, int]]:
    """(width, height) in px of every page drawn at ``dpi``; (0, 0) where a page cannot be read. Nothing is drawn.

    Raises:
        PictureError: not a PDF, damaged, or locked with a password.
        MissingExtra: pypdfium2 is not installed.
    """
    with _opened(data, name) as document:
        return [_size(document, page, dpi) for page in range(len(document))]


def page_size(data: bytes, page: int, dpi: int, name: str = "PDF") -> tuple[int, int]:
    """(width, height) in px of page ``page`` (from 0) drawn at ``dpi``.

    Raises:
        PictureError: as ``page_sizes``, or there is no such page.
        MissingExtra: pypdfium2 is not installed.
    """
    with _opened(data, name) as document:
        _check_page(document, page, name)
        return _size(document, page, dpi)


def draw_page(data: bytes, page: int, dpi: int, name: str = "PDF") -> Image.Image:
    """Page ``page`` (from 0) as 8-bit RGB on white. ``page_size`` tells beforehand how large it becomes.

    Raises:
        PictureError: as ``page_size``, or the page cannot be drawn.
        MissingExtra: pypdfium2 is not installed.
    """
    with _opened(data, name) as document:
        _check_page(document, page, name)
        try:
            return document[page].render(scale=dpi / 72).to_pil().convert("RGB")
        except (_pdfium().PdfiumError, ValueError, MemoryError) as error:
            raise PictureError(f"page {page} of the PDF cannot be drawn: {error}", name) from error


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    pdfium = _pdfium()
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        raise PictureError(f"not a readable PDF (starts with {data[:12]!r}): {error}", name) from error
    try:
        yield document
    finally:
        document.close()


def _check_page(document: Any, page: int, name: str) -> None:
    if not 0 <= page < len(document):
        raise PictureError(f"the PDF has {len(document)} pages, there is no page {page} (from 0)", name)


def _size(document: Any, page: int, dpi: int) -> tuple[int, int]:
    try:
        width, height = document.get_page_size(page)
    except _pdfium().PdfiumError:
        return 0, 0
    # pypdfium2 rounds a drawn page up to whole pixels.
    return math.ceil(width * (dpi / 72)), math.ceil(height * (dpi / 72))
