"""Ferret and Ferret-UI conversations: LLaVA rows with boxes (Ferret 2310.07704, the layout of its training files).

``box_x1y1x2y2`` holds one list per turn of boxes in absolute pixels; ``<bbox_location0>`` in a turn is that turn's
first box. ``image_w``/``image_h`` (or ``width``/``height``) give the picture's size. What the user points at is written
as a box or, for a share ``point_share`` of the regions (default 1/3), as a point inside it: gaussian around the centre,
standard deviation 0.15 of the side. The choice depends on the sample's key and the box only, so a region that comes
back is written the same way. An assistant always writes boxes.

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
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import Box, Part, Point, Region, RegionPart, Role, Sample
from mm15.datasets._context import (
    RowContext,
    checked_box,
    conversation,
    pictures,
    place_images,
    read_turns,
    split_text,
)

USED = {"image", "width", "height", "image_w", "image_h", "conversations", "box_x1y1x2y2", "point_share"}
POINT_SHARE = 1 / 3
POINT_SPREAD = 0.15
"""Standard deviation of a point around the centre of its box, as a share of the box's side (Ferret)."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row; only rows with exactly one picture may carry boxes.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    sizes = {"width": row.get("image_w", row.get("width")), "height": row.get("image_h", row.get("height"))}
    images = pictures({**row, **sizes}, context)
    turns = read_turns(row, "conversations", "from", "value")
    boxes = row.get("box_x1y1x2y2", [[]] * len(turns))
    if not isinstance(boxes, list) or len(boxes) != len(turns) or not all(isinstance(listed, list) for listed in boxes):
        raise SkipSample(f"'box_x1y1x2y2' must hold one list of boxes for each of the {len(turns)} turns")
    if any(boxes) and (len(images) != 1 or not images[0].width):
        raise SkipSample("boxes need exactly one picture and its 'image_w' and 'image_h'")
    share = row.get("point_share", POINT_SHARE)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise SkipSample(f"'point_share' must be a number from 0 to 1, found {share!r}")
    placed = place_images([text for _, text in turns], "<image>", images)
    parts: list[list[Part]] = []
    for number, ((role, _), said, listed) in enumerate(zip(turns, placed, boxes, strict=True)):
        regions: list[Region] = [checked_box(box, images[0].width, images[0].height) for box in listed]
        if role is Role.USER:
            regions = [_box_or_point(box, context.key, share) for box in regions if isinstance(box, Box)]
        parts.append(_place_regions(said, regions, number))
    return [context.sample(row, conversation([role for role, _ in turns], parts), USED)]


def _place_regions(said: list[Part], regions: list[Region], turn: int) -> list[Part]:
    named: set[int] = set()

    def make(match: re.Match[str]) -> Part:
        index = int(match[1])
        if index >= len(regions):
            raise SkipSample(f"turn {turn}: {match[0]} but only {len(regions)} boxes")
        named.add(index)
        return RegionPart(regions[index])

    parts = split_text(said, r"<bbox_location(\d+)>", make)
    if len(named) != len(regions):
        raise SkipSample(f"turn {turn}: {len(regions)} boxes, of which {len(named)} are named in the text")
    return parts


def _box_or_point(box: Box, key: str, share: float) -> Region:
    rng = python_rng(0, "region", key, box)
    if rng.random() >= share:
        return box
    return Point(_inside(rng, box.x1, box.x2), _inside(rng, box.y1, box.y2), box.image)


def _inside(rng: Any, low: float, high: float) -> float:
    while True:
        value = rng.gauss((low + high) / 2, POINT_SPREAD * (high - low))
        if low <= value < high:
            return value
