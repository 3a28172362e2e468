"""Annotated regions: from the numbers of an annotation file to pixels of the picture as it is seen.

Annotations count in stored pixels. Where a picture carries an EXIF orientation it is turned when it is opened, and its
boxes are turned with it here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import PictureError, SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import (
    Box,
    ImagePart,
    MediaRef,
    Message,
    Part,
    Point,
    Region,
    RegionPart,
    TextPart,
    assistant,
    user,
)
from mm15.datasets._context import RowContext, checked_box
from mm15.datasets._prompts import ask
from mm15.images.pixels import orient_box, picture_layout
from mm15.io.media import read_bytes

Outside = Literal["clip", "refuse"]
"""What happens to a box that leaves its picture: cut at the edge, or the row is refused. Nothing left: refused."""
POINT_SHARE = 1 / 3
POINT_SPREAD = 0.15
"""Standard deviation of a point around the centre of its box, as a share of the box's side (Ferret)."""
HEADER_BYTES = 1 << 17
OptionsT = TypeVar("OptionsT", bound=Strict)


class RegionOptions(Strict):
    """What recipes may set for annotated regions of every format that asks for them in our words."""

    point_share: float = Field(default=POINT_SHARE, ge=0, le=1)
    """Share of the regions that the user points at with a point."""
    outside: Outside = "clip"
    exif: bool = True
    """Read the pictures' headers for an EXIF orientation, which turns the boxes."""
    seed: int = 0


def options_of(context: RowContext, schema: type[OptionsT]) -> OptionsT:
    """The format's options of a recipe, or its defaults."""
    return context.options if isinstance(context.options, schema) else schema()


def clip_or_refuse(numbers: object, width: int, height: int, outside: Outside) -> Box:
    """Four numbers xyxy as a box of a ``width`` x ``height`` picture.

    Raises:
        SkipSample: not four finite numbers (strings are none), inverted, without area, or (after clipping) outside.
    """
    given = _numbers(numbers, 4)
    if outside == "clip" and given and given[0] < given[2] and given[1] < given[3]:
        cut = [min(max(value, 0), side) for value, side in zip(given, (width, height) * 2, strict=True)]
        if not (cut[0] < cut[2] and cut[1] < cut[3]):
            raise SkipSample(f"box {numbers} lies outside the picture of {width} x {height}")
        numbers = cut
    return checked_box(numbers, width, height)


def from_xywh(numbers: object) -> list[float]:
    """x, y, width, height (COCO, Visual Genome) as xyxy.

    Raises:
        SkipSample: not four numbers, or a side that is not above 0.
    """
    given = _numbers(numbers, 4)
    if not given:
        raise SkipSample(f"a box needs the four numbers x, y, width, height, found {numbers!r}")
    x, y, width, height = given
    if not (width > 0 and height > 0):
        raise SkipSample(f"box {numbers} (x, y, width, height) has no area")
    return [x, y, x + width, y + height]


def size_of(row: Mapping[str, Any]) -> tuple[int, int]:
    """(width, height) of a picture as annotated. Raises ``SkipSample`` unless both are whole numbers above 0."""
    width, height = row.get("width"), row.get("height")
    if not all(type(side) is int and side > 0 for side in (width, height)):
        raise SkipSample(f"'width' and 'height' must be whole pixels above 0, found {width!r} and {height!r}")
    return int(str(width)), int(str(height))


@dataclass(frozen=True, slots=True)
class Annotated:
    """A picture with annotations in its stored pixels, ``width`` x ``height``."""

    part: ImagePart
    width: int
    height: int
    orientation: int = 1

    def box(self, numbers: object, outside: Outside) -> Box:
        """The box xyxy in pixels of the picture as it is seen. Raises what ``clip_or_refuse`` raises."""
        box = clip_or_refuse(numbers, self.width, self.height, outside)
        turned = orient_box((box.x1, box.y1, box.x2, box.y2), self.orientation, self.width, self.height)
        return Box(*turned, box.image)

    def point(self, numbers: object) -> Point:
        """The point x, y in pixels of the picture as it is seen.

        Raises:
            SkipSample: not two finite numbers, or outside the picture.
        """
        given = _numbers(numbers, 2)
        if not given:
            raise SkipSample(f"a point needs two numbers, found {numbers!r}")
        x, y = given
        if not (0 <= x <= self.width and 0 <= y <= self.height):
            raise SkipSample(f"point {numbers} is outside the picture of {self.width} x {self.height}")
        return Point(*orient_box((x, y, x, y), self.orientation, self.width, self.height)[:2])


def annotated(context: RowContext, name: object, width: int, height: int, exif: bool = True) -> Annotated:
    """The picture called ``name`` in a row, annotated at this stored size.

    Args:
        exif: read the picture's header for an EXIF orientation. A picture that cannot be read is taken as upright:
            it is refused by name when it is opened.

    Raises:
        SkipSample: see ``RowContext.media``; or the picture has another size than its annotations.
    """
    media = context.media(name)
    layout = _layout(media) if exif else None
    orientation = layout[2] if layout else 1
    if layout and layout[:2] != (width, height):
        raise SkipSample(f"{media} has {layout[0]} x {layout[1]} stored pixels, but is annotated at {width} x {height}")
    seen = (height, width) if orientation >= 5 else (width, height)
    return Annotated(ImagePart(media, *seen), width, height, orientation)


def _layout(media: MediaRef) -> tuple[int, int, int] | None:
    """(width, height, orientation) as stored; the front of a file is enough for most."""
    try:
        if not media.member and media.offset < 0 and media.data is None:
            with suppress(PictureError), open(media.path, "rb") as file:
                return picture_layout(file.read(HEADER_BYTES), str(media), media.frame)
        return picture_layout(read_bytes(media), str(media), media.frame)
    except (OSError, SkipSample):
        return None


def box_or_point(box: Box, key: str, share: float) -> Region:
    """What a user points at: the box or, for a ``share`` of the regions, a point inside, gaussian around the centre.

    Depends on the key and the box only, so that a region that comes back is written the same way.
    """
    rng = python_rng(0, "region", key, box)
    if rng.random() >= share:
        return box
    return Point(_inside(rng, box.x1, box.x2), _inside(rng, box.y1, box.y2), box.image)


def about(kind: str, box: Box, key: str, place: object, options: RegionOptions) -> list[Part]:
    """A question of this kind (``_prompts``) about a box or a point in it, worded by seed, key and place in the row."""
    region = RegionPart(box_or_point(box, key, options.point_share))
    return ask(kind, options.seed, (key, place), region=region)


def boxes_parts(regions: Sequence[Region]) -> list[Part]:
    """Regions of one phrase, a comma between them."""
    parts: list[Part] = []
    for region in regions:
        parts += [TextPart(", "), RegionPart(region)] if parts else [RegionPart(region)]
    return parts


def phrase_with_boxes(phrase: str, regions: Sequence[Region]) -> list[Part]:
    """``phrase [box], [box]``: how an answer grounds a phrase."""
    return [TextPart(f"{phrase} "), *boxes_parts(regions)]


def join(pieces: Sequence[Sequence[Part]], between: str) -> list[Part]:
    """Several pieces of an answer with a text between them."""
    parts: list[Part] = []
    for piece in pieces:
        parts += [TextPart(between), *piece] if parts else piece
    return merged_text(parts)


def merged_text(parts: Sequence[Part]) -> list[Part]:
    """The same parts with neighbouring texts as one."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, TextPart) and merged and isinstance(merged[-1], TextPart):
            merged[-1] = TextPart(merged[-1].text + part.text)
        else:
            merged.append(part)
    return merged


def talk(picture: Annotated, turns: Sequence[tuple[Sequence[Part], Sequence[Part]]]) -> list[Message]:
    """A conversation about one picture: picture, line break, question, answer, question, answer ..."""
    messages: list[Message] = []
    for question, answer in turns:
        front: list[Part] = [] if messages else [picture.part, TextPart("\n")]
        messages += [user(*merged_text([*front, *question])), assistant(*merged_text(answer))]
    return messages


def _numbers(values: object, count: int) -> list[float] | None:
    """The values, if they are so many numbers; texts and truth values are none."""
    fits = isinstance(values, list) and len(values) == count and all(type(n) in (int, float) for n in values)
    return list(values) if fits and isinstance(values, list) else None


def _inside(rng: random.Random, low: float, high: float) -> float:
    while True:
        value = rng.gauss((low + high) / 2, POINT_SPREAD * (high - low))
        if low <= value < high:
            return value
