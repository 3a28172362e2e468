"""What can be wrong with a row: reasons sorted into kinds, each with what a user can do about it.

Whoever refuses a row says why in a sentence of its own; here the sentences are sorted, so that a thousand of them read
as a few. A sentence that fits no kind is its own, with names and numbers left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mm15.base.types import MediaRef

EXCERPT = 200
"""Characters of a row that are shown."""


class Kind(NamedTuple):
    """A kind of fault, how its reasons read, and the fix."""

    name: str
    pattern: re.Pattern[str]
    fix: str


def _kind(name: str, pattern: str, fix: str) -> Kind:
    return Kind(name, re.compile(pattern, re.IGNORECASE | re.DOTALL), fix)


AGAIN = "download or export it again, or leave the row out"

KINDS = (
    # Archives and tables.
    _kind("tar: damaged header", "no readable tar header", "make or download the tar again; what follows is lost"),
    _kind("tar: member cut off", "is cut off: the file ends", "make or download the tar again"),
    _kind("tar: link", "is a link; only", "make the tar with --dereference"),
    _kind("tar: device or pipe", "is no regular file", "leave it out; data are regular files"),
    _kind("tar: sparse member", "is a sparse file", "make the tar without --sparse"),
    _kind("tar: member without suffix", "has no suffix", "name members key.field, like 0001.jpg"),
    _kind("tar: unsafe name", "is an unsafe name", "name members by relative paths without '..'"),
    _kind("tar: member twice", "stands twice in the tar", "give every member its own name"),
    _kind("damaged row group", "row group .* cannot be decoded", AGAIN),
    _kind("file cannot be opened", "^cannot be opened", "repair it, or leave it out of the path"),
    # Rows as text.
    _kind("not UTF-8", "codec can't decode|is not UTF-8|utf-?8.*decode", "convert the file to UTF-8"),
    _kind("text is not Unicode", "half (of )?a surrogate", "write the character as one code point"),
    _kind("field twice", "stands twice in one object", "keep one of them"),
    _kind("not valid JSON", "not valid JSON", "repair the line, or leave it out"),
    _kind("not an object", "expected a JSON object", "a row is one {...} with named fields"),
    _kind("cells and columns differ", "cells for .* columns|not a row of", "quote cells that hold separators"),
    # Pictures.
    _kind("empty file", r"\b0 bytes\b|empty picture", AGAIN),
    _kind("web page in place of a picture", r"starts with b['\"]\s*<", "the server answered with a page; " + AGAIN),
    _kind("damaged picture", r"starts with b['\"](\\xff\\xd8|\\x89PNG|GIF8|RIFF|II\*|MM\\x00)", AGAIN),
    _kind("not a picture", "not a readable .* file", "save it as JPEG, PNG or WebP; " + AGAIN),
    _kind("damaged picture", "(JPEG|MPO|PNG|WEBP|BMP|GIF|TIFF|PPM) cannot be decoded|PDF.*cannot be", AGAIN),
    _kind("picture too large", "(pixels|px|bytes|the) allowed", "scale it down"),
    _kind("picture without pixels", "no pixels", AGAIN),
    _kind("no such frame", "has no frame|has no page|only .* pages", "name a frame or page that is there"),
    _kind("unknown range of pixels", "no known range", "save it with 8 or 16 bits per channel"),
    _kind("wrong size stated", r"the row states .* px|is annotated at", "correct it, or leave the size out"),
    _kind("sizes are no sizes", "'?width'? and '?height'?|'(width|height)' (must|lists)", "two whole numbers above 0"),
    _kind("file missing", "no such file|No member|no clip", "correct it, or set root: to its folder (--set root=...)"),
    _kind("only a network address", "network address", "give the source a store: with local copies"),
    _kind("unsafe path", "stay inside it|leads out of|without '\\.\\.'", "name files by paths relative to root:"),
    _kind("file cut off", "cut off: .* announced", AGAIN),
    _kind("file cannot be read", "cannot be read|not a regular file", "make it a readable regular file"),
    _kind("too many pictures", "pictures in one sample", "split the sample"),
    _kind("too long", "are more than max_tokens", "raise max_tokens, lower split.n_max, or shorten it"),
    _kind("no picture", "no picture|no member|no file name|is not a file name", "name one in the row"),
    # Boxes.
    _kind("box is no box", "a box needs|four numbers|not finite|is not a number", "x1, y1, x2, y2: finite numbers"),
    _kind("box inverted, empty or outside", "inverted, empty or outside", "0 <= x1 < x2 <= width in pixels, y alike"),
    _kind("box inverted or empty", "has no area", "x1 < x2 and y1 < y2, in pixels"),
    _kind("box outside its picture", "lies outside|outside the picture", "boxes are pixels of the upright original"),
    _kind("box on no picture", "is on picture", "number pictures from 0, in the order of the sample"),
    # Turns.
    _kind("placeholders and pictures differ", "placeholder|have no part of type image|no picture is left",
          "one <image> for each picture, or options: {placeholders: ...}"),
    _kind("says nothing", "says nothing|an empty (caption|answer|text)|must hold some text|asks nothing|no (text|cap)",
          "write the text, or leave the row out"),
    _kind("turns out of order", "turns must alternate", "user and assistant in turns, an answer last"),
    _kind("unknown role", "unknown role", "user, assistant or system"),
    _kind("no turns", "at least one turn", "a list with at least a question and an answer"),
    _kind("turn without text", "turn \\d+ needs|turn \\d+: (the content|a part)", "every turn has a role and a text"),
    _kind("nothing to train on", "nothing to train", "a sample has an answer or a document"),
    _kind("field missing", "no column|missing|no list|must be a", "name the column under options:, or add the field"),
    _kind("the format failed", "the format failed", "the row is not what the format expects; please report it"),
)  # fmt: skip


class Fault(NamedTuple):
    """Something wrong at one place."""

    source: str
    address: str
    kind: str
    reason: str
    fix: str
    row: str

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


def classify(reason: str) -> tuple[str, str]:
    """(kind, fix) of a reason."""
    for kind in KINDS:
        if kind.pattern.search(reason):
            return kind.name, kind.fix
    general = re.sub(r"-?\d[\d.,]*", "N", re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)", "…", reason))
    return general[:70].strip(), "see the reason"


def fault(source: str, address: str, reason: str, row: object = None) -> Fault:
    """A fault with its kind and fix; the row as a short text."""
    kind, fix = classify(reason)
    return Fault(source, address, kind, reason, fix, excerpt(row))


def excerpt(row: object) -> str:
    """A row as one line of at most ``EXCERPT`` characters; bytes and addresses by name."""
    if row is None:
        return ""
    if isinstance(row, bytes):
        text = row[: 4 * EXCERPT].decode("utf-8", "backslashreplace").strip()
    else:
        try:
            text = json.dumps(_plain(row), ensure_ascii=False, default=str)
        except (ValueError, TypeError, RecursionError):
            text = repr(row)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, MediaRef):
        return value.member or str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value[: 4 * EXCERPT] if isinstance(value, str) else value
