"""Samples as JSON and back, exactly; the bytes of their media lie beside, by name.

A sample is ``{"key", "messages": [{"role", "trained", "parts": [...]}], "meta"}``; a part is ``{"text"}``, ``{"image":
name, "width", "height"}``, ``{"video": name, "frames", "start", "end"}``, ``{"box": [x1, y1, x2, y2], "image": k}`` or
``{"point": [x, y], "image": k}``. ``frame`` and ``dpi`` of a medium are written where they are not 0. Source and
category are those of whoever reads.

Values that JSON does not have stand in ``meta`` as objects with one field: ``{"$tuple": [...]}``, ``{"$bytes":
base64}``, ``{"$float": "nan"}``, ``{"$datetime": iso}`` and so on; a mapping that could be taken for one, or whose keys
are not all texts, is ``{"$items": [[key, value], ...]}``.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Callable, Mapping
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    Point,
    RegionPart,
    Role,
    Sample,
    TextPart,
    VideoPart,
)

Name = Callable[[MediaRef], str]
"""The name that the bytes of a medium get."""
Find = Callable[[str], MediaRef]
"""The medium of this name."""

_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$float": float,
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$seconds": lambda text: datetime.timedelta(seconds=int(text) // 10**6, microseconds=int(text) % 10**6),
    "$decimal": decimal.Decimal,
}


def sample_to_json(sample: Sample, name: Name) -> dict[str, Any]:
    """A sample as plain JSON values.

    Raises:
        SkipSample: a value in ``meta`` that cannot be written.
    """
    messages = [
        {"role": message.role.value, "trained": message.trained, "parts": [_part(part, name) for part in message.parts]}
        for message in sample.messages
    ]
    meta = {str(field): _value(value, str(field)) for field, value in sample.meta.items()}
    return {"key": sample.key, "messages": messages, "meta": meta}


def sample_from_json(written: Any, find: Find, source: str, category: Category, key: str) -> Sample:
    """The sample that was written. ``key`` is for one that was written without.

    Raises:
        SkipSample: not what ``sample_to_json`` writes; says where.
    """
    try:
        messages = tuple(
            Message(
                Role(message["role"]), tuple(_read_part(part, find) for part in message["parts"]), message["trained"]
            )
            for message in written["messages"]
        )
        meta = {field: _read_value(value) for field, value in written.get("meta", {}).items()}
        return Sample(str(written.get("key", key)), source, category, messages, meta)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        told = f"{type(error).__name__}: {error}"
        raise SkipSample(f"the JSON is not that of a sample ({told}); convert the data set again") from error


def _part(part: Part, name: Name) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if isinstance(part, RegionPart):
        region = part.region
        if isinstance(region, Box):
            return {"box": [region.x1, region.y1, region.x2, region.y2], "image": region.image}
        return {"point": [region.x, region.y], "image": region.image}
    media = part.media
    more = {field: value for field, value in (("frame", media.frame), ("dpi", media.dpi)) if value}
    if isinstance(part, ImagePart):
        return {"image": name(media), "width": part.width, "height": part.height, **more}
    more |= {"fps": part.fps} if part.fps else {}
    return {"video": name(media), "frames": part.frames, "start": part.start, "end": part.end, **more}


def _read_part(part: Mapping[str, Any], find: Find) -> Part:
    if "text" in part:
        return TextPart(part["text"])
    if "box" in part:
        x1, y1, x2, y2 = part["box"]
        return RegionPart(Box(x1, y1, x2, y2, part["image"]))
    if "point" in part:
        x, y = part["point"]
        return RegionPart(Point(x, y, part["image"]))
    found = find(part["image"] if "image" in part else part["video"])
    frame, dpi = part.get("frame", 0), part.get("dpi", 0)
    media = MediaRef(found.path, found.member, found.offset, found.size, frame, found.data, dpi)
    if "image" in part:
        return ImagePart(media, part["width"], part["height"])
    return VideoPart(media, part["frames"], part["start"], part["end"], part.get("fps", 0.0))


def _value(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, Mapping):
        plain = all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("$"))
        if plain:
            return {key: _value(inner, f"{where}.{key}") for key, inner in value.items()}
        return {"$items": [[_value(key, where), _value(inner, f"{where}.{key}")] for key, inner in value.items()]}
    if isinstance(value, list):
        return [_value(inner, f"{where}.{number}") for number, inner in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": [_value(inner, f"{where}.{number}") for number, inner in enumerate(value)]}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    # A datetime is a date too.
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return {f"${type(value).__name__}": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"$seconds": str(value // datetime.timedelta(microseconds=1))}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    raise SkipSample(f"'{where}' holds a {type(value).__name__}, which cannot be written as JSON")


def _read_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_read_value(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inner),) = value.items()
        if kind == "$tuple":
            return tuple(_read_value(item) for item in inner)
        if kind == "$items":
            return {_read_value(key): _read_value(item) for key, item in inner}
        if kind in _FROM_TEXT:
            return _FROM_TEXT[kind](inner)
    return {key: _read_value(inner) for key, inner in value.items()}
