"""Whether files are the fixed mini suite, so that numbers of two runs are of the same questions.

``mini_suite.json`` beside this holds, for every file, the number of rows and three digests:

- ``rows``: SHA-256 of all rows as JSON with sorted keys, without the fields in ``DRAWN``: questions, right answers,
  tasks, boxes and names of pictures, in order. It must be equal.
- ``pixels``: SHA-256 of the size and the RGB values of every picture, as decoded. Letters and pages are drawn by
  FreeType and PDFium, drawings scaled by Pillow: other versions may set a few pixels otherwise.
- ``looks``: a perceptual hash of 64 bits per picture (``images.hashes``), in order. Where ``pixels`` differ, every
  picture must look the same: at most ``BITS`` of its 64 bits differ (two different pictures: 32 on average).

So a file is ``EXACT``, ``ALIKE``, or another one, and why is told. Files that users bring in this shape are scored all
the same; the results and the page say that they are not the fixed suite.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import PIL
from PIL import Image, features

from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef
from mm15.images.hashes import picture_hash
from mm15.images.pixels import open_picture
from mm15.io.atomic import write_atomic
from mm15.io.jsonl import read_jsonl
from mm15.io.media import read_bytes

MANIFEST = Path(__file__).with_name("mini_suite.json")
DRAWN = ("chars", "width", "height")
"""Fields of rows that follow from how a typeface was drawn; the pictures' digests cover them."""
EXACT, ALIKE = "exact", "alike"
BITS = 13
"""Of 64. A word that FreeType 2.13 and 2.14 set one pixel apart differs in 12, noise of 3 grey levels changes up to 4;
two pictures of one file of the suite differ in 14 or more."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file and its pictures hold. ``looks``: eight bytes a picture, zeros for one of a single colour."""

    count: int
    rows: str
    pixels: str
    looks: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        looks = base64.b64encode(self.looks).decode()
        return {"count": self.count, "rows": self.rows, "pixels": self.pixels, "looks": looks}


def content_of(file: Path, looks: bool = True) -> Content:
    """Read a JSON-lines file and decode its pictures.

    Args:
        looks: also hash what the pictures look like, which takes most of the time.

    Raises:
        SkipSample: a row or a picture that cannot be read.
    """
    rows, pixels = hashlib.sha256(), hashlib.sha256()
    count, seen = 0, []
    for _, row in read_jsonl(file):
        count += 1
        kept = {name: value for name, value in row.items() if name not in DRAWN}
        rows.update(json.dumps(kept, sort_keys=True).encode() + b"\n")
        for picture in _pictures(row, file.parent):
            pixels.update(f"{picture.width}x{picture.height} ".encode() + picture.tobytes())
            if looks:
                hashed = picture_hash(picture)
                seen.append((hashed.coarse if hashed else 0).to_bytes(8, "big"))
    return Content(count, rows.hexdigest(), pixels.hexdigest(), b"".join(seen))


def _pictures(row: Mapping[str, Any], folder: Path) -> Iterator[Image.Image]:
    named = row.get("image") or []
    for name in named if isinstance(named, list) else [named]:
        media = MediaRef(path=str(folder / str(name)))
        yield open_picture(read_bytes(media), str(media))


@cache
def manifest() -> dict[str, Content]:
    """File name → what it must hold."""
    told = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {
        name: Content(entry["count"], entry["rows"], entry["pixels"], base64.b64decode(entry["looks"]))
        for name, entry in told["files"].items()
    }


def state_of(file: Path) -> str:
    """``EXACT``; ``ALIKE`` and how much pictures differ; or why it is not the fixed file. Kept while the file stays."""
    stat = file.stat()
    return _state_of(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _state_of(file: Path, size: int, changed: int) -> str:
    fixed = manifest().get(file.name)
    if fixed is None:
        return "no file of this name is in the fixed suite"
    try:
        found = content_of(file, looks=False)
        if found.count != fixed.count:
            return f"{found.count} rows, the fixed file has {fixed.count}"
        if found.rows != fixed.rows:
            return "other questions, answers or boxes"
        if found.pixels == fixed.pixels:
            return EXACT
        return _compared(content_of(file).looks, fixed.looks)
    except SkipSample as error:
        return f"cannot be compared: {error.reason}"


def _compared(found: bytes, fixed: bytes) -> str:
    if len(found) != len(fixed):
        return f"{len(found) // 8} pictures, the fixed file has {len(fixed) // 8}"
    bits = [
        (int.from_bytes(found[k : k + 8], "big") ^ int.from_bytes(fixed[k : k + 8], "big")).bit_count()
        for k in range(0, len(found), 8)
    ]
    if others := sum(differing > BITS for differing in bits):
        return f"{others} of {len(bits)} pictures look different"
    return f"{ALIKE}: same questions, pictures drawn by other versions of libraries, up to {max(bits)} of 64 bits"


def is_fixed(state: str) -> bool:
    """Whether a state is of the fixed suite."""
    return state == EXACT or state.startswith(ALIKE)


def not_fixed(states: Mapping[str, str]) -> str:
    """A sentence on what is not the fixed suite, by name; empty if all is."""
    others = [f"{name} ({state})" for name, state in states.items() if not is_fixed(state)]
    return f"Not the fixed mini suite, not comparable with other runs: {'; '.join(others)}" if others else ""


def keep(folder: str | Path, names: Sequence[str] = ()) -> None:
    """Make the files of a folder the fixed suite: writes the manifest. A new suite: old numbers no longer compare.

    Args:
        names: files, in this order; none: all JSON-lines files by name.
    """
    files = [Path(folder) / name for name in names] or sorted(Path(folder).glob("*.jsonl"))
    lines = [f"  {json.dumps(file.name)}: {json.dumps(content_of(file).to_json())}" for file in files]
    drawn = {"pillow": PIL.__version__, "freetype": features.version("freetype2")}
    text = f'{{\n "drawn_with": {json.dumps(drawn)},\n "files": {{\n' + ",\n".join(lines) + "\n }\n}\n"
    write_atomic(MANIFEST, text)
    manifest.cache_clear()
    _state_of.cache_clear()
