"""HTML manuals as blocks of text and pictures in the order in which they are read. Nothing is run or fetched."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mm15.base.errors import PictureError, SkipSample
from mm15.images.pixels import picture_size

BLOCKS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "li",
        "dt",
        "dd",
        "pre",
        "blockquote",
        "figcaption",
        "figure",
        "caption",
        "div",
        "section",
        "article",
        "main",
        "tr",
        "table",
        "ul",
        "ol",
        "dl",
        "br",
        "hr",
        "body",
        "address",
        "details",
        "summary",
    ]
)
PASSED_OVER = frozenset(
    ["script", "style", "nav", "noscript", "svg", "template", "head", "iframe", "form", "button", "select", "footer"]
)
HEADINGS = frozenset(("h1", "h2", "h3"))
LEAST = 32
"""Pictures under so many pixels in a side are icons."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture in a document. ``data`` are its encoded bytes, ``source`` says where it was."""

    data: bytes
    width: int
    height: int
    source: str
    caption: str = ""
    """What the document says that it is: alternative text, or the line below it."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A text that starts a section."""

    text: str


Block = str | Heading | Figure


@dataclass(frozen=True, slots=True)
class _Named:
    source: str
    caption: str


def read_html(path: Path, root: Path) -> tuple[list[Block], list[tuple[str, str]]]:
    """The blocks of a page, and the pictures that were left out as (reason, address).

    Args:
        root: pictures are read from inside this folder only.

    Raises:
        SkipSample: not readable as text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SkipSample(f"cannot be read: {error.strerror}", str(path)) from error
    if b"\0" in data[:4096]:
        raise SkipSample("no HTML text", str(path))
    declared = re.search(rb"charset=[\"']?([\w-]+)", data[:2048])
    try:
        text = data.decode(declared[1].decode() if declared else "utf-8-sig")
    except (LookupError, UnicodeDecodeError) as error:
        raise SkipSample(f"not readable in its encoding: {error}", str(path)) from error
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.flush()
    blocks: list[Block] = []
    dropped: list[tuple[str, str]] = []
    for found in reader.found:
        if isinstance(found, _Named):
            try:
                blocks.append(_figure(found, path, root))
            except SkipSample as skip:
                dropped.append((skip.reason, f"{path}: {found.source[:80]}"))
        else:
            blocks.append(found)
    return blocks, dropped


def _figure(named: _Named, page: Path, root: Path) -> Figure:
    source = named.source
    if source.startswith("data:"):
        match = re.match(r"data:image/[\w.+-]+;base64,(.*)", source, re.S)
        try:
            data = base64.b64decode(match[1], validate=False) if match else b""
        except binascii.Error:
            data = b""
        source = "data:"
    else:
        parts = urlsplit(source)
        if parts.scheme or parts.netloc:
            raise SkipSample("a picture at a network address; nothing is fetched")
        place = (page.parent / unquote(parts.path)).resolve()
        if not place.is_relative_to(root.resolve()):
            raise SkipSample("a picture outside the input folder")
        if not place.is_file():
            raise SkipSample("a picture that is not there")
        data = place.read_bytes()
    if source.lower().endswith((".svg", ".svgz")) or data.lstrip()[:5] in (b"<svg ", b"<?xml"):
        raise SkipSample("an SVG picture")
    try:
        width, height = picture_size(data, source)
    except PictureError as error:
        raise SkipSample("a picture that cannot be opened") from error
    if min(width, height) < LEAST:
        raise SkipSample(f"a picture under {LEAST} px")
    return Figure(data, width, height, source, named.caption)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str | Heading | _Named] = []
        self._text: list[str] = []
        self._hidden: list[str] = []
        self._pre = 0
        self._heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.append(tag)
            return
        if tag in PASSED_OVER:
            self._hidden.append(tag)
        elif tag == "img":
            self.flush()
            given = dict(attrs)
            caption = " ".join((given.get("alt") or "").split())
            if given.get("src"):
                self.found.append(_Named(given["src"] or "", caption))
        elif tag in BLOCKS:
            self.flush()
            self._pre += tag == "pre"
            self._heading = tag in HEADINGS
        elif tag in ("td", "th") and "".join(self._text).strip():
            self._text.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.pop()
        elif tag in BLOCKS:
            self.flush()
            self._pre -= tag == "pre" and self._pre > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data)

    def flush(self) -> None:
        """End the block that is open."""
        text = "".join(self._text)
        text = text.strip("\n").rstrip() if self._pre else " ".join(text.split())
        if text.strip():
            self.found.append(Heading(text) if self._heading else text)
        self._text, self._heading = [], False
