"""Ferret and Ferret-UI conversations: LLaVA rows with boxes (Ferret 2310.07704, the layout of its training files).

``box_x1y1x2y2`` holds one list per turn; ``<bbox_location0>`` in a turn is the first entry of that turn's list: a box
in absolute pixels, a point ``[x, y]``, or a list of boxes, all of one phrase. ``image_w``/``image_h`` (or
``width``/``height``) give the picture's size. Boxes count in stored pixels, or on ``options.canvas`` where a file says
so (0-1000, RICO's 1440 x 2560).

What the user points at is written as a box or, for a share ``point_share`` of the boxes (default 1/3), as a point
inside it: any pixel of the row's ``masks`` (COCO run lengths, one per box) where it has them, else gaussian around the
centre, standard deviation 0.15 of the side. The choice depends on the sample's key and the box only, so a region that
comes back is written the same way. An assistant writes boxes as boxes. Evaluation files end with a question; they are
read with ``options.questions``.

Example rows:
{"image": "a.png", "image_w": 117, "image_h": 253, "conversations": [
  {"from": "human", "value": "<image>\\nWhat is <bbox_location0>?"}, {"from": "gpt", "value": "Button"}],
 "box_x1y1x2y2": [[[44, 52, 69, 63]], []]}
{"image": "a.png", "image_w": 117, "image_h": 253, "conversations": [
  {"from": "human", "value": "<image>\\nFind the dog."}, {"from": "gpt", "value": "a dog <bbox_location0>"}],
 "box_x1y1x2y2": [[], [[4, 5.5, 69, 63]]]}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, PositiveInt

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import ImagePart, Part, Point, Region, Role, Sample, TextPart
from mm15.datasets._context import RowContext, conversation, pictures, place_images, read_turns
from mm15.datasets._regions import (
    POINT_SHARE,
    Annotated,
    Outside,
    annotated,
    box_or_point,
    boxes_parts,
    options_of,
)
from mm15.datasets._rle import point_in_mask

USED = {"image", "width", "height", "image_w", "image_h", "conversations", "box_x1y1x2y2", "masks", "point_share"}


class Options(Strict):
    """What a recipe may set under ``options:``."""

    point_share: float = Field(default=POINT_SHARE, ge=0, le=1)
    """A row's own ``point_share`` wins."""
    outside: Outside = "refuse"
    """``clip`` is what Ferret's own loader does."""
    canvas: tuple[PositiveInt, PositiveInt] | None = None
    """Width and height that the numbers count in, stretched to the picture; by default the picture's own pixels."""
    questions: bool = False
    """Rows may end with a question (evaluation files). Such a sample has nothing to train on."""
    exif: bool = True
    """Read the pictures' headers for an EXIF orientation, which turns the boxes."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row; only rows with exactly one picture may carry boxes.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    options = options_of(context, Options)
    sizes = {"width": row.get("image_w", row.get("width")), "height": row.get("image_h", row.get("height"))}
    images = pictures({**row, **sizes}, context)
    turns = read_turns(row, "conversations", "from", "value")
    boxes = _per_turn(row, "box_x1y1x2y2", len(turns))
    masks = _per_turn(row, "masks", len(turns))
    share = row.get("point_share", options.point_share)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise SkipSample(f"'point_share' must be a number from 0 to 1, found {share!r}")
    picture = None
    if any(boxes):
        if len(images) != 1 or not images[0].width:
            raise SkipSample("boxes need exactly one picture and its 'image_w' and 'image_h'")
        picture = annotated(context, images[0].media, images[0].width, images[0].height, options.exif)
        images = [picture.part]
    roles = [role for role, _ in turns]
    parts: list[list[Part]] = []
    for number, said in enumerate(_placed(turns, images)):
        found = [_regions(entry, picture, options) for entry in boxes[number]] if picture else []
        if picture and roles[number] is Role.USER:
            mask_of = masks[number] or [None] * len(found)
            if len(mask_of) != len(found):
                raise SkipSample(f"turn {number}: {len(mask_of)} masks for {len(found)} boxes")
            shown = zip(found, boxes[number], mask_of, strict=True)
            found = [_pointed(regions, raw, mask, picture, context.key, share) for regions, raw, mask in shown]
        parts.append(_place_regions(said, found, number))
    if options.questions and roles[-1] is Role.USER:
        messages = conversation([*roles, Role.ASSISTANT], [*parts, [TextPart("?")]])[:-1]
    else:
        messages = conversation(roles, parts)
    return [context.sample(row, messages, USED)]


def _placed(turns: Sequence[tuple[Role, str]], images: Sequence[ImagePart]) -> list[list[Part]]:
    return place_images([text for _, text in turns], "<image>", images)


def _per_turn(row: dict[str, Any], field: str, turns: int) -> list[list[Any]]:
    listed = row.get(field)
    if listed is None:
        return [[]] * turns
    if not isinstance(listed, list) or len(listed) != turns or not all(isinstance(one, list) for one in listed):
        raise SkipSample(f"'{field}' must hold one list of boxes for each of the {turns} turns")
    return listed


def _regions(entry: object, picture: Annotated, options: Options) -> list[Region]:
    """One entry: a box, a point, or a list of boxes."""
    if isinstance(entry, list) and entry and all(isinstance(one, list) for one in entry):
        return [region for one in entry for region in _regions(one, picture, options)]
    if options.canvas and isinstance(entry, list) and all(type(number) in (int, float) for number in entry):
        wide, high = picture.width / options.canvas[0], picture.height / options.canvas[1]
        entry = [number * (high if axis % 2 else wide) for axis, number in enumerate(entry)]
    if isinstance(entry, list) and len(entry) == 2:
        return [picture.point(entry)]
    return [picture.box(entry, options.outside)]


def _pointed(regions: list[Region], raw: Any, mask: Any, picture: Annotated, key: str, share: float) -> list[Region]:
    """What a user points at: boxes, or for a share of them a point inside."""
    result: list[Region] = []
    for region in regions:
        if isinstance(region, Point):
            result.append(region)
            continue
        pointed = box_or_point(region, key, share)
        if mask is not None and isinstance(pointed, Point):
            rng = python_rng(0, "mask", key, raw)
            pointed = picture.point(list(point_in_mask(mask, picture.width, picture.height, rng)))
        result.append(pointed)
    return result


def _place_regions(said: list[Part], found: list[list[Region]], turn: int) -> list[Part]:
    """The text with the entries' regions in place of their names."""
    parts: list[Part] = []
    named: set[int] = set()
    for part in said:
        if not isinstance(part, TextPart):
            parts.append(part)
            continue
        for piece, text in enumerate(re.split(r"<bbox_location(\d+)>", part.text)):
            if piece % 2 == 0:
                parts += [TextPart(text)] if text else []
                continue
            if int(text) >= len(found):
                raise SkipSample(f"turn {turn}: <bbox_location{text}> but only {len(found)} boxes")
            named.add(int(text))
            parts += boxes_parts(found[int(text)])
    if len(named) != len(found):
        raise SkipSample(f"turn {turn}: {len(found)} boxes, of which {len(named)} are named in the text")
    return parts
