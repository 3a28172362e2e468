"""Pictures with one caption each, as img2dataset writes them: COYO, LAION, DataComp, CC3M and CC12M.

A tar whose members share a key: a picture (``jpg``, ``png``, ``webp`` ...), its caption (``txt``) and its record
(``json``: ``url``, ``caption``, ``status``, ``width``, ``height``, ``uid`` ...). A row becomes a document, the picture
and then its caption, all text trained; with ``prompt`` it becomes that question and the caption as the answer. The
record goes to ``meta``. ``face_bboxes`` of DataComp are areas to blur, no annotation: nothing is made of them.

Example rows:
{"__key__": "000000001", "jpg": "000000001.jpg", "txt": "A red kangaroo."}
{"__key__": "000000002", "png": "000000002.png", "txt": "Two cups.",
 "json": {"caption": "Two cups.", "url": "two-cups", "status": "success", "width": 90, "height": 60}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import Message, Sample, assistant, document, user
from mm15.datasets._context import RowContext

PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff")
CAPTIONS = ("txt", "caption")


class Options(Strict):
    """What a recipe may say about a data set of pairs."""

    caption: str = ""
    """Where the caption stands: the ending of a member, or ``json.<field>`` of the record; by default ``txt``, else
    ``caption``."""
    image: str = ""
    """The ending of the picture, where a key has several; by default the only one."""
    prompt: str = ""
    """A question to which the caption is the answer; by default there is none and the pair is a document."""
    sizes: bool = False
    """Take the record's ``width`` and ``height`` for those of the picture instead of reading its header. Right where
    img2dataset has encoded the pictures anew, so that no EXIF orientation is left."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per key.

    Raises:
        SkipSample: no picture, no caption, an empty one, or a record that cannot be read or says the download failed.
    """
    options: Options = context.options or Options()
    record = _record(row, context)
    if record.get("status", "success") != "success":
        raise SkipSample(f"the record says status {record['status']!r}: {record.get('error_message')}")
    caption = _caption(row, record, context, options)
    width, height = _size(record) if options.sizes else (0, 0)
    image = context.image(row[_picture(row, options)], width, height)
    if image.media.size == 0 or image.media.data == b"":
        raise SkipSample("an empty picture: 0 bytes")
    messages: list[Message] = [document(image, caption)]
    if options.prompt:
        messages = [user(image, options.prompt), assistant(caption)]
    return [context.sample({**record, "__key__": row.get("__key__", "")}, messages, set())]


def _picture(row: Mapping[str, Any], options: Options) -> str:
    wanted = (options.image,) if options.image else PICTURES
    found = [name for name in wanted if row.get(name) is not None]
    if len(found) != 1:
        which = f"several pictures: {', '.join(found)}; name one as option 'image'" if found else "no picture"
        raise SkipSample(f"{which} ({_members(row)})")
    return found[0]


def _caption(row: Mapping[str, Any], record: Mapping[str, Any], context: RowContext, options: Options) -> str:
    kind, _, field = options.caption.partition(".")
    if kind == "json" and field:
        where, caption = f"'{field}' of the record", record.get(field)
        if field not in record:
            raise SkipSample(f"the record has no '{field}'; it has: {', '.join(record) or 'nothing'}")
    else:
        wanted = (options.caption,) if options.caption else CAPTIONS
        where = next((name for name in wanted if row.get(name) is not None), "")
        if not where:
            raise SkipSample(f"no caption ({_members(row)})")
        caption = context.text(row[where])
    if not isinstance(caption, str) or not caption.strip():
        raise SkipSample(f"an empty caption in {where}")
    return caption.strip()


def _record(row: Mapping[str, Any], context: RowContext) -> dict[str, Any]:
    if row.get("json") is None:
        return {}
    record = context.json(row["json"])
    if not isinstance(record, dict):
        raise SkipSample(f"the record is a {type(record).__name__}, no JSON object")
    return record


def _size(record: Mapping[str, Any]) -> tuple[int, int]:
    width, height = record.get("width"), record.get("height")
    if type(width) is not int or type(height) is not int or width < 1 or height < 1:
        raise SkipSample(f"the record states no size: width {width!r}, height {height!r}")
    return width, height


def _members(row: Mapping[str, Any]) -> str:
    return f"members: {', '.join(name for name in row if name != '__key__') or 'none'}"
