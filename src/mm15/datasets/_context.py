"""What every format needs: where a row comes from, its pictures, its turns, its boxes.

Everything here checks and refuses with ``SkipSample``; nothing guesses. Boxes are pixels of the original image, xyxy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    RegionPart,
    Role,
    Sample,
    TextPart,
)

ROLES = {
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
}


@dataclass(frozen=True, slots=True)
class RowContext:
    """Where a row comes from. ``root`` is the folder that the file names in the row are relative to."""

    source: str
    category: Category
    key: str
    root: str = ""

    def media(self, name: object) -> MediaRef:
        """The address of a picture named in a row.

        Raises:
            SkipSample: not a file name, or one that leaves ``root``, or a network address (never fetched).
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise SkipSample(f"{name!r} is not a file name")
        if "://" in name:
            raise SkipSample(f"{name!r} is a network address; pictures are only read from files")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SkipSample(f"{name!r} must be relative to the data folder and stay inside it")
        return MediaRef(path=str(Path(self.root) / name))

    def sample(self, row: Mapping[str, Any], messages: Sequence[Message], used: set[str]) -> Sample:
        """The sample of this row; fields not in ``used`` become its ``meta``."""
        meta = {name: value for name, value in row.items() if name not in used}
        return Sample(self.key, self.source, self.category, tuple(messages), meta)


def pictures(row: Mapping[str, Any], context: RowContext, field: str = "image") -> list[ImagePart]:
    """The pictures of a row: ``row[field]`` is a file name, a list of them, or absent (so are ``""`` and null).

    Sizes come from ``width`` and ``height``, numbers or lists with one entry per picture; absent sizes stay 0.
    """
    named = row.get(field)
    names = [named] if isinstance(named, str) and named else named or []
    if not isinstance(names, list):
        raise SkipSample(f"'{field}' must be a file name or a list of them, found {type(named).__name__}")
    widths, heights = (_sizes(row, side, len(names)) for side in ("width", "height"))
    if (widths is None) != (heights is None):
        raise SkipSample("'width' and 'height' must be given together")
    sizes = zip(widths, heights, strict=True) if widths and heights else [(0, 0)] * len(names)
    return [ImagePart(context.media(name), *size) for name, size in zip(names, sizes, strict=True)]


def _sizes(row: Mapping[str, Any], side: str, count: int) -> list[int] | None:
    given = row.get(side)
    if given is None:
        return None
    sizes = [size for size in given if size is not None] if isinstance(given, list) else [given]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise SkipSample(f"'{side}' must hold whole numbers above 0, found {given!r}")
    if len(sizes) != count:
        raise SkipSample(f"'{side}' lists {len(sizes)} sizes for {count} pictures")
    return sizes


def read_turns(row: Mapping[str, Any], field: str, role_field: str, text_field: str) -> list[tuple[Role, str]]:
    """The turns of a conversation as (role, text), not yet checked for order."""
    turns = row.get(field)
    if not isinstance(turns, list) or not turns:
        raise SkipSample(f"'{field}' must be a list with at least one turn")
    read = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or not isinstance(turn.get(text_field), str):
            raise SkipSample(f"turn {number} needs '{role_field}' and a text '{text_field}'")
        role = ROLES.get(str(turn.get(role_field)))
        if role is None:
            raise SkipSample(f"turn {number}: unknown role {turn.get(role_field)!r}; known: {', '.join(ROLES)}")
        read.append((role, turn[text_field]))
    return read


def place_images(texts: Sequence[str], marker: str, images: Sequence[ImagePart]) -> list[list[Part]]:
    """Every text cut at ``marker``, the k-th marker of the row replaced by the k-th picture, where it stands."""
    found = sum(text.count(marker) for text in texts)
    if found != len(images):
        raise SkipSample(f"{found} {marker} placeholders for {len(images)} pictures")
    following = iter(images)
    return [split_text([TextPart(text)], re.escape(marker), lambda _: next(following)) for text in texts]


def split_text(parts: Sequence[Part], pattern: str, make: Callable[[re.Match[str]], Part]) -> list[Part]:
    """Replace every match of ``pattern`` in the text parts by ``make(match)``; empty texts vanish."""
    result: list[Part] = []
    for part in parts:
        if not isinstance(part, TextPart):
            result.append(part)
            continue
        end = 0
        for match in re.finditer(pattern, part.text):
            result += [TextPart(part.text[end : match.start()]), make(match)]
            end = match.end()
        result.append(TextPart(part.text[end:]))
    return [part for part in result if not isinstance(part, TextPart) or part.text]


def conversation(roles: Sequence[Role], parts: Sequence[Sequence[Part]]) -> list[Message]:
    """Messages in order: an optional system turn, then question and answer in turns, ending with an answer.

    Raises:
        SkipSample: roles do not alternate, a turn says nothing, or a picture stands outside a user turn.
    """
    speakers = list(roles[1:] if roles and roles[0] is Role.SYSTEM else roles)
    expected = [Role.USER, Role.ASSISTANT] * (len(speakers) // 2)
    if not speakers or speakers != expected:
        raise SkipSample(f"turns must alternate user, assistant and end with an answer; found {', '.join(roles)}")
    for number, (role, said) in enumerate(zip(roles, parts, strict=True)):
        if role is not Role.USER and any(isinstance(part, ImagePart) for part in said):
            raise SkipSample(f"turn {number}: a picture inside a turn of the {role}")
        if not says_something(said) and not any(isinstance(part, ImagePart) for part in said):
            raise SkipSample(f"turn {number}: the {role} says nothing")
    return [Message(role, tuple(said), trained=role is Role.ASSISTANT) for role, said in zip(roles, parts, strict=True)]


def says_something(parts: Sequence[Part]) -> bool:
    """Whether there is more than pictures and white space."""
    return any(isinstance(part, RegionPart) or (isinstance(part, TextPart) and part.text.strip()) for part in parts)


def checked_box(numbers: object, width: int, height: int, image: int = 0) -> Box:
    """Four numbers as a box inside a picture of this size.

    Raises:
        SkipSample: not four finite numbers, or inverted, empty or outside the picture.
    """
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(type(n) in (int, float) for n in numbers):
        raise SkipSample(f"a box needs four numbers, found {numbers!r}")
    x1, y1, x2, y2 = map(float, numbers)
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise SkipSample(f"box {numbers} is inverted, empty or outside the picture of {width} x {height}")
    return Box(x1, y1, x2, y2, image)
