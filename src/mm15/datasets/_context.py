"""What every format needs: where a row comes from, its pictures, its turns, its boxes.

Everything here checks and refuses with ``SkipSample``; nothing guesses. Boxes are pixels of the original image, xyxy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from mm15.base.config import validate
from mm15.base.errors import ConfigError, SkipSample
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
    VideoPart,
)
from mm15.images.pixels import orient_box, picture_layout
from mm15.io.jsonl import unique_fields
from mm15.io.media import MAX_BYTES, read_bytes
from mm15.io.store import ImageStore

ROLES = {
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "bing": Role.ASSISTANT,
    "bard": Role.ASSISTANT,
    "system": Role.SYSTEM,
}


class MissingMedia(SkipSample):
    """A picture that is known by a network address only and is not in the source's store; nothing is ever fetched."""


@dataclass(frozen=True, slots=True)
class RowContext:
    """Where a row comes from, and the only way from what it names to bytes.

    ``root`` is the folder that the file names in the row are relative to. ``options`` is an instance of the format's
    ``Options`` (None where it has none), ``store`` the local copies of pictures that rows name by network address.
    """

    source: str
    category: Category
    key: str
    root: str = ""
    options: Any = None
    store: ImageStore | None = None

    def media(self, value: object) -> MediaRef:
        """The address of a picture, clip or text that a row names.

        Args:
            value: a file name under ``root``; a ``MediaRef``; encoded bytes; ``{"bytes", "path"}`` as in Hugging Face
                parquet files (bytes win); or a network address whose copy lies in ``store``.

        Raises:
            MissingMedia: a network address, and no copy of it.
            SkipSample: none of these, or a file name that leaves ``root``.
        """
        if isinstance(value, MediaRef):
            return value
        if isinstance(value, bytes):
            return MediaRef(data=value)
        if isinstance(value, dict) and value and value.keys() <= {"bytes", "path"}:
            data = value.get("bytes")
            if data is not None and not isinstance(data, bytes):
                raise SkipSample(f"'bytes' holds a {type(data).__name__}, expected bytes")
            return self.media(data if data is not None else value.get("path"))
        if not isinstance(value, str) or not value or "\0" in value:
            raise SkipSample(f"{shown(value)} is not a file name")
        if "://" in value:
            found = self.store.find(value) if self.store else None
            if found is None:
                where = "not in the store" if self.store else "the source has no store"
                raise MissingMedia(f"{value!r} is a network address; pictures are only read from files, and {where}")
            return found
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts:
            raise SkipSample(f"{value!r} must be relative to the data folder and stay inside it")
        return MediaRef(path=str(Path(self.root) / value))

    def image(self, value: object, width: object = 0, height: object = 0) -> ImagePart:
        """The picture that a row names (see ``media``). Sizes are of the upright picture; 0 or null: not stated.

        Raises:
            SkipSample: see ``media``; or sizes that are no whole numbers above 0, or only one of them.
        """
        if (width or 0) == 0 == (height or 0):
            return ImagePart(self.media(value))
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise SkipSample(f"'width' and 'height' must be two whole numbers above 0, found {width!r} and {height!r}")
        return ImagePart(self.media(value), width, height)

    def read(self, value: object, max_bytes: int = MAX_BYTES) -> bytes:
        """The bytes of what a row names (see ``media``). Raises ``SkipSample`` where they cannot be read."""
        return read_bytes(self.media(value), max_bytes=max_bytes)

    def text(self, value: object, max_bytes: int = MAX_BYTES) -> str:
        """A text: a string as it is, anything else read as UTF-8 (a byte order mark is no text).

        Raises:
            SkipSample: unreadable, or not UTF-8.
        """
        if isinstance(value, str):
            return value
        ref = self.media(value)
        try:
            return read_bytes(ref, max_bytes=max_bytes).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SkipSample(f"{ref} is not UTF-8: {error}") from error

    def json(self, value: object, max_bytes: int = MAX_BYTES) -> Any:
        """What JSON says: a list or mapping as it is, a string parsed, anything else read and parsed.

        Raises:
            SkipSample: unreadable, or not JSON.
        """
        if isinstance(value, list) or (isinstance(value, dict) and value.keys() != {"bytes", "path"}):
            return value
        try:
            return json.loads(self.text(value, max_bytes), object_pairs_hook=unique_fields)
        except (ValueError, RecursionError) as error:
            where = shown(value) if isinstance(value, str) else str(self.media(value))
            raise SkipSample(f"{where} is not valid JSON: {error}") from error

    def sample(
        self, row: Mapping[str, Any], messages: Sequence[Message], used: set[str], number: int | None = None
    ) -> Sample:
        """A sample of this row; fields not in ``used`` become its ``meta``, except media.

        Args:
            number: which of the row's samples it is, from 0; None where a row is one sample.
        """
        meta = {name: value for name, value in row.items() if name not in used and not _is_media(value)}
        key = self.key if number is None else f"{self.key}/{number}"
        return Sample(key, self.source, self.category, tuple(messages), meta)


def shown(value: object) -> str:
    """A value as a short text for a reason."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_media(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_is_media(item) for item in value)
    return isinstance(value, bytes | MediaRef) or (isinstance(value, dict) and isinstance(value.get("bytes"), bytes))


def read_options(format: ModuleType, given: Mapping[str, Any]) -> Any:
    """An instance of a format's ``Options``, None where it has none.

    Raises:
        ConfigError: unknown or wrong options, each with its name, value and nearest known name.
    """
    if hasattr(format, "Options"):
        return validate(format.Options, given, "options")
    if given:
        name = format.__name__.rpartition(".")[2].replace("_", "-")
        raise ConfigError([f"{key}: format '{name}' has no options; remove it" for key in given], "options")
    return None


@dataclass(frozen=True, slots=True)
class Upright:
    """A picture and the pixels that its annotations refer to.

    ``part`` has the size of the upright picture; boxes on ``width`` x ``height`` pixels are turned by ``orientation``.
    """

    part: ImagePart
    width: int
    height: int
    orientation: int

    def box(self, numbers: object, image: int = 0) -> Box:
        """Four annotated numbers, xyxy, as a box on the upright picture, which is number ``image`` of the sample.

        Raises:
            SkipSample: not four finite numbers, or inverted, empty or outside the picture.
        """
        box = checked_box(numbers, self.width, self.height)
        turned = orient_box((box.x1, box.y1, box.x2, box.y2), self.orientation, self.width, self.height)
        return Box(*turned, image)


def upright(context: RowContext, media: object, width: int = 0, height: int = 0) -> Upright:
    """The picture that a row names (see ``RowContext.media``), with size and EXIF orientation from its header.

    Annotations refer to the stored pixels, so they turn with the picture; unless the row states the size that the
    picture has when it is upright: then they were made on that.

    Args:
        width, height: the annotated size that the row states, 0 if it states none. With it a picture that is missing
            is no error here; encoding names it.

    Raises:
        SkipSample: not to be read, no picture (``PictureError``), or of another size than stated.
    """
    ref = context.image(media, width, height).media
    try:
        data = read_bytes(ref)
    except SkipSample:
        if width:
            return Upright(ImagePart(ref, width, height), width, height, 1)
        raise
    stored_w, stored_h, orientation = picture_layout(data, str(ref), ref.frame)
    sides = (stored_h, stored_w) if orientation >= 5 else (stored_w, stored_h)
    if width and (width, height) not in ((stored_w, stored_h), sides):
        raise SkipSample(f"the row states {width} x {height} px, but {ref} has {sides[0]} x {sides[1]}")
    if width and (width, height) != (stored_w, stored_h):
        return Upright(ImagePart(ref, *sides), *sides, 1)
    return Upright(ImagePart(ref, *sides), stored_w, stored_h, orientation)


def oriented_box(
    context: RowContext, media: object, numbers: object, width: int = 0, height: int = 0, image: int = 0
) -> Box:
    """One annotated box of a picture, on the upright picture. For several boxes call ``upright`` once."""
    return upright(context, media, width, height).box(numbers, image)


def pictures(row: Mapping[str, Any], context: RowContext, field: str = "image") -> list[ImagePart]:
    """The pictures of a row: ``row[field]`` is one (see ``RowContext.media``), a list, or absent (so are ``""``, null).

    Sizes come from ``width`` and ``height``, numbers or lists with one entry per picture; absent sizes stay 0.
    """
    named = row.get(field)
    single = isinstance(named, str | bytes | dict | MediaRef)
    names = [named] if single and named else named or []
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
        shows = any(isinstance(part, ImagePart | VideoPart) for part in said)
        if role is not Role.USER and shows:
            raise SkipSample(f"turn {number}: a picture inside a turn of the {role}")
        if not says_something(said) and not shows:
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
    if not isinstance(numbers, list | tuple) or len(numbers) != 4 or not all(type(n) in (int, float) for n in numbers):
        raise SkipSample(f"a box needs four numbers, found {numbers!r}")
    x1, y1, x2, y2 = map(float, numbers)
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise SkipSample(f"box {numbers} is inverted, empty or outside the picture of {width} x {height}")
    return Box(x1, y1, x2, y2, image)
