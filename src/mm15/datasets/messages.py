"""Chats of role and content: Mantis-Instruct, Code-Feedback, and the layout that chat interfaces share.

The turns stand in ``messages``, ``conversation`` or ``conversations`` as ``{role, content}``. Content is a text, in
which every ``<image>`` is the next picture of ``images`` (or ``image``); or a list of parts: ``{"type": "text",
"text"}``, and ``{"type": "image"}``, the next picture of the row, or with the picture itself as ``image``, ``path``,
``url`` or ``image_url: {url}``. In a row without a field for pictures, ``<image>`` is text like any other.

Example rows:
{"id": "m1", "images": ["a.jpg", "b.jpg"], "source": "nlvr2", "conversation": [
  {"role": "user", "content": "<image><image> Do both show a cup?"}, {"role": "assistant", "content": "Yes."}]}
{"messages": [
  {"role": "user", "content": [{"type": "image", "path": "a.jpg"}, {"type": "text", "text": "What is it?"}]},
  {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Part, Role, Sample, TextPart
from mm15.datasets._context import ROLES, RowContext, conversation, pictures
from mm15.datasets._placing import Policy, place_media
from mm15.datasets._selected import Selectable

TURNS = ("messages", "conversation", "conversations")
PICTURES = ("images", "image")
ADDRESSES = ("image", "path", "url", "image_url")


class Options(Selectable):
    """What a recipe may say about a chat data set."""

    turns: str = ""
    """The column of the turns; by default the first of ``messages``, ``conversation``, ``conversations`` there is."""
    images: str = ""
    """The column of the pictures; by default ``images``, else ``image``."""
    role: str = "role"
    content: str = "content"
    """What role and content of a turn are called."""
    placeholders: Policy = "refuse"
    """Where placeholders and pictures do not match."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One conversation per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    options: Options = context.options or Options()
    column = _column(row, options.turns, TURNS)
    turns = row.get(column)
    if not isinstance(turns, list) or not turns:
        raise SkipSample(f"'{column}' must be a list with at least one turn")
    pictured = _column(row, options.images, PICTURES)
    images = pictures(row, context, field=pictured)
    roles = [_role(turn, number, options) for number, turn in enumerate(turns)]
    contents = [turn.get(options.content) for turn in turns]
    changes: dict[str, int] = {}
    if any(isinstance(content, list) for content in contents):
        following = iter(images)
        parts = [_parts(content, number, context, following) for number, content in enumerate(contents)]
        if left := len(list(following)):
            raise SkipSample(f"{left} of {len(images)} pictures have no part of type image")
    else:
        texts = [_text(content, number) for number, content in enumerate(contents)]
        if pictured in row:
            said = list(zip(roles, texts, strict=True))
            parts, changes = place_media(said, ["<image>"], images, options.placeholders)
        else:
            parts = [[TextPart(text)] for text in texts]
    used = {column, pictured, "width", "height"}
    return [context.sample({**row, **changes}, conversation(roles, parts), used)]


def _column(row: Mapping[str, Any], named: str, usual: tuple[str, ...]) -> str:
    if named and named not in row:
        raise SkipSample(f"no column '{named}'; there are: {', '.join(row) or 'none'}")
    return named or next((name for name in usual if name in row), usual[0])


def _role(turn: object, number: int, options: Options) -> Role:
    if not isinstance(turn, dict) or options.role not in turn or options.content not in turn:
        raise SkipSample(f"turn {number} needs '{options.role}' and '{options.content}'")
    role = ROLES.get(str(turn[options.role]))
    if role is None:
        raise SkipSample(f"turn {number}: unknown role {turn[options.role]!r}; known: {', '.join(ROLES)}")
    return role


def _text(content: object, number: int) -> str:
    if not isinstance(content, str):
        raise SkipSample(f"turn {number}: the content is a {type(content).__name__}, no text and no list of parts")
    return content


def _parts(content: object, number: int, context: RowContext, following: Iterator[ImagePart]) -> list[Part]:
    if not isinstance(content, list):
        return [TextPart(_text(content, number))]
    parts: list[Part] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            parts.append(TextPart(part["text"]))
        elif kind in ("image", "image_url"):
            parts.append(_picture(part, number, context, following))
        else:
            raise SkipSample(f"turn {number}: a part of type {kind!r}; known: text, image, image_url")
    return [part for part in parts if not isinstance(part, TextPart) or part.text]


def _picture(part: Mapping[str, Any], number: int, context: RowContext, following: Iterator[ImagePart]) -> ImagePart:
    value = next((part[name] for name in ADDRESSES if part.get(name) is not None), None)
    if isinstance(value, dict) and "url" in value:
        value = value["url"]
    if value is not None:
        return context.image(value)
    image = next(following, None)
    if image is None:
        raise SkipSample(f"turn {number}: a part of type image, but no picture is left")
    return image
