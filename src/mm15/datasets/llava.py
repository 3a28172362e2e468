"""LLaVA conversations: LLaVA-Instruct, mix665k, ShareGPT4V, M4-Instruct, Cambrian, text-only ShareGPT.

``image`` is a file name, a list of them, or absent; every ``<image>`` in a user turn is one picture and stays where it
stands. ``width`` and ``height`` (numbers, or one per picture) spare reading the header. A caption row has pictures and
one answer without a question; in category ``caption`` it becomes a document: pictures, then trained text.

Example rows:
{"id": "7", "image": "a.jpg", "width": 90, "height": 60, "conversations": [
  {"from": "human", "value": "<image>\\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]}
{"conversations": [{"from": "user", "value": "Two and two?"}, {"from": "assistant", "value": "Four."}]}
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Category, ImagePart, Role, Sample, document
from mm15.datasets._context import (
    RowContext,
    conversation,
    pictures,
    place_images,
    read_turns,
    says_something,
)

USED = {"image", "width", "height", "conversations"}


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    if "video" in row:
        raise SkipSample("a row with a 'video'; this format reads pictures only")
    turns = read_turns(row, "conversations", "from", "value")
    roles = [role for role, _ in turns]
    images = pictures(row, context)
    if context.category is Category.CAPTION and images and roles == [Role.ASSISTANT]:
        return [_caption(row, context, images, turns[0][1])]
    parts = place_images([text for _, text in turns], "<image>", images)
    only_pictures = not says_something(parts[0])
    if context.category is Category.CAPTION and images and roles == [Role.USER, Role.ASSISTANT] and only_pictures:
        return [_caption(row, context, images, turns[1][1])]
    return [context.sample(row, conversation(roles, parts), USED)]


def _caption(row: dict[str, Any], context: RowContext, images: list[ImagePart], text: str) -> Sample:
    if "<image>" in text:
        raise SkipSample("an <image> placeholder inside a caption")
    if not text.strip():
        raise SkipSample("an empty caption")
    return context.sample(row, [document(*images, text)], USED)
