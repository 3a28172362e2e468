"""mPLUG-DocOwl rows: DocStruct4M, DocDownstream-1.0, DocReason25K, DocLocal4K.

``image`` is a list of file names, ``<|image|>`` stands for each in turn. ``<bbox>x1,y1,x2,y2</bbox>`` holds whole
numbers 0-999 of the picture's width and height; v lies at v / 999 of the side. It becomes a box in pixels, written
again in the model's own scale; rows with boxes have one picture, whose size is read where ``width`` and ``height`` do
not state it. Other markup (``<doc>``, ``<md>``, ``<ocr>``) is text unless ``strip_markup`` is set. Files hold the rows
of several data sets: ``where: {dataset_name: DocVQA}`` takes those of one.

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
from functools import cache
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Part, RegionPart, Sample
from mm15.datasets._context import (
    RowContext,
    Upright,
    conversation,
    pictures,
    place_images,
    read_turns,
    split_text,
    upright,
)
from mm15.datasets._selected import Selectable

USED = {"image", "width", "height", "messages"}
SCALE = 999
"""A coordinate v lies at v / 999 of the side."""


MARKUP = r" ?</?(?:doc|md|ocr)> ?"


class Options(Selectable):
    """What a recipe may say about these rows."""

    strip_markup: bool = False
    """Leave ``<doc>``, ``<md>`` and ``<ocr>`` and the space next to them out of the text."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    options: Options = context.options or Options()
    turns = read_turns(row, "messages", "role", "content")
    images = pictures(row, context)

    @cache
    def page() -> Upright:
        if len(images) != 1:
            raise SkipSample(f"<bbox> needs exactly one picture, the row has {len(images)}")
        (image,) = images
        return Upright(image, image.width, image.height, 1) if image.width else upright(context, image.media)

    def region(match: re.Match[str]) -> Part:
        numbers = match[1].split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d{1,3}\s*", number) for number in numbers):
            raise SkipSample(f"{match[0]} is not four whole numbers from 0 to {SCALE}")
        sides = (page().width, page().height) * 2
        return RegionPart(page().box([int(n) * side / SCALE for n, side in zip(numbers, sides, strict=True)]))

    texts = [re.sub(MARKUP, "", text) if options.strip_markup else text for _, text in turns]
    placed = place_images(texts, "<|image|>", images)
    parts = [split_text(said, r"<bbox>(.*?)</bbox>", region) for said in placed]
    return [context.sample(row, conversation([role for role, _ in turns], parts), USED)]
