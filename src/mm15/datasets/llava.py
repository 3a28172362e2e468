"""LLaVA conversations: LLaVA-Instruct, mix665k, ShareGPT4V, ReCap, M4-Instruct, Cambrian, ShareGPTVideo, ShareGPT.

``image`` is a picture (a file name or ``{bytes, path}``), a list of them, or nothing (absent, ``""``, null, ``[]``);
every ``<image>`` in a user turn is one picture and stays where it stands. ``video`` is a file or a folder of frames,
for which ``<video>`` or ``<image>`` stands. In a row that has neither field, ``<image>`` is text like any other.
``width`` and ``height`` (numbers, or one per picture) spare reading the header. A caption row has pictures and
one answer without a question; in category ``caption`` it becomes a document: pictures, then trained text.

Example rows:
{"id": "7", "image": "a.jpg", "width": 90, "height": 60, "conversations": [
  {"from": "human", "value": "<image>\\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]}
{"conversations": [{"from": "user", "value": "Two and two?"}, {"from": "assistant", "value": "Four."}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from mm15.base.errors import SkipSample
from mm15.base.types import Category, ImagePart, Part, Role, Sample, TextPart, VideoPart, document
from mm15.datasets._context import (
    RowContext,
    conversation,
    pictures,
    read_turns,
    says_something,
)
from mm15.datasets._placing import Policy, place_media
from mm15.datasets._selected import Selectable

USED = {"image", "video", "width", "height", "conversations"}


class Options(Selectable):
    """What a recipe may say about defects that some of these files are known for."""

    placeholders: Policy = "refuse"
    """Where placeholders and pictures do not match; M4-Instruct has such rows."""
    leading_answer: Literal["refuse", "drop"] = "refuse"
    """What becomes of answers before the first question of a row without pictures; ShareGPT has such rows."""
    frames: int = Field(default=24, ge=1)
    """Pictures that a clip becomes."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    options: Options = context.options or Options()
    turns = read_turns(row, "conversations", "from", "value")
    images, clips = pictures(row, context), _clips(row, context, options.frames)
    if images and clips:
        raise SkipSample("a row with both 'image' and 'video'")
    roles = [role for role, _ in turns]
    if context.category is Category.CAPTION and images and roles == [Role.ASSISTANT]:
        return [_caption(row, context, images, turns[0][1])]
    changes: dict[str, int] = {}
    if options.leading_answer == "drop" and not images and not clips:
        first = roles.index(Role.USER) if Role.USER in roles else 0
        kept = [turn for number, turn in enumerate(turns) if number >= first or turn[0] is not Role.ASSISTANT]
        if len(kept) < len(turns):
            changes["answers_dropped"] = len(turns) - len(kept)
            turns, roles = kept, [role for role, _ in kept]
    if "image" in row or "video" in row:
        markers = ["<video>", "<image>"] if clips else ["<image>"]
        parts, placed = place_media(turns, markers, [*images, *clips], options.placeholders)
        changes |= placed
    else:
        parts: list[list[Part]] = [[TextPart(text)] for _, text in turns]
    only_pictures = not says_something(parts[0])
    if context.category is Category.CAPTION and images and roles == [Role.USER, Role.ASSISTANT] and only_pictures:
        return [_caption(row, context, images, turns[1][1])]
    return [context.sample({**row, **changes}, conversation(roles, parts), USED)]


def _clips(row: Mapping[str, Any], context: RowContext, frames: int) -> list[VideoPart]:
    named = row.get("video")
    names = [named] if isinstance(named, str) and named else named or []
    if not isinstance(names, list):
        raise SkipSample(f"'video' must be a file or folder name or a list of them, found {type(named).__name__}")
    return [VideoPart(context.media(name), frames) for name in names]


def _caption(row: dict[str, Any], context: RowContext, images: list[ImagePart], text: str) -> Sample:
    if "<image>" in text:
        raise SkipSample("an <image> placeholder inside a caption")
    if not text.strip():
        raise SkipSample("an empty caption")
    return context.sample(row, [document(*images, text)], USED)
