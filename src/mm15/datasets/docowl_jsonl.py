"""mPLUG-DocOwl rows: DocStruct4M, DocDownstream-1.0, DocReason25K, DocLocal4K.

``image`` is a list of file names, ``<|image|>`` stands for each in turn. ``<bbox>x1,y1,x2,y2</bbox>`` holds whole
numbers 0-999 of the picture's width and height; it becomes a box in pixels, written again in the model's own scale, so
rows with boxes need ``width`` and ``height`` (of their one picture). Other markup (``<doc>``, ``<ocr>``) is text.

Example rows:
{"image": ["a.png"], "messages": [
  {"role": "user", "content": "<|image|>Recognize text in the image."},
  {"role": "assistant", "content": "<doc> Hello </doc>"}], "task_name": "qa_sft"}
{"image": ["a.png"], "width": 90, "height": 60, "messages": [
  {"role": "user", "content": "<|image|>Where is 'Hello'?"},
  {"role": "assistant", "content": "<bbox>10,20,300,400</bbox>"}]}
"""

from __future__ import annotations

import re
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Part, RegionPart, Sample
from mm15.datasets._context import (
    RowContext,
    checked_box,
    conversation,
    pictures,
    place_images,
    read_turns,
    split_text,
)

USED = {"image", "width", "height", "messages"}
SCALE = 999
"""A coordinate v lies at v / 999 of the side."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    turns = read_turns(row, "messages", "role", "content")
    images = pictures(row, context)

    def region(match: re.Match[str]) -> Part:
        if len(images) != 1 or not images[0].width:
            raise SkipSample("<bbox> needs exactly one picture and its 'width' and 'height'")
        numbers = match[1].split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d{1,3}\s*", number) for number in numbers):
            raise SkipSample(f"{match[0]} is not four whole numbers from 0 to {SCALE}")
        width, height = images[0].width, images[0].height
        pixels = [int(n) * side / SCALE for n, side in zip(numbers, (width, height) * 2, strict=True)]
        return RegionPart(checked_box(pixels, width, height))

    placed = place_images([text for _, text in turns], "<|image|>", images)
    parts = [split_text(said, r"<bbox>(.*?)</bbox>", region) for said in placed]
    return [context.sample(row, conversation([role for role, _ in turns], parts), USED)]
