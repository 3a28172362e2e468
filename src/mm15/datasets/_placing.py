"""Placeholders in text → pictures and clips in their places, and what to do where the two do not match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Part, Role, TextPart, VideoPart
from mm15.datasets._context import split_text

Policy = Literal["refuse", "prepend_missing", "drop_extra_placeholders"]
"""What happens where there are more pictures than placeholders, or fewer.

``refuse``: the row is skipped. ``prepend_missing``: the first pictures, as many as lack a placeholder, come before the
first question, each followed by a line break. ``drop_extra_placeholders``: placeholders after the last picture, and
those in turns that are no questions, are cut out with the line break after them.
"""
Media = ImagePart | VideoPart
NUMBERED = r"<image (\d+)>"


def place_media(
    turns: Sequence[tuple[Role, str]], markers: Sequence[str], media: Sequence[Media], policy: Policy = "refuse"
) -> tuple[list[list[Part]], dict[str, int]]:
    """The texts of the turns with the k-th placeholder replaced by the k-th picture or clip, where it stands.

    Args:
        turns: role and text.
        markers: the strings that are placeholders.
        media: what they stand for, in order.
        policy: see ``Policy``.

    Returns:
        The parts of every turn, and what the policy changed (``placeholders_added``, ``placeholders_dropped``) for
        ``meta``; empty where the two matched.

    Raises:
        SkipSample: the numbers differ and the policy has no remedy.
    """
    pattern = "|".join(re.escape(marker) for marker in markers)
    found = [len(re.findall(pattern, text)) for _, text in turns]
    kind = "clips" if any(isinstance(item, VideoPart) for item in media) else "pictures"
    mismatch = SkipSample(f"{sum(found)} {' or '.join(markers)} placeholders for {len(media)} {kind}")
    missing = len(media) - sum(found)
    if missing > 0 and policy == "prepend_missing":
        placed = _fill([text for _, text in turns], pattern, media[missing:])
        first = next((number for number, (role, _) in enumerate(turns) if role is Role.USER), None)
        if first is None:
            raise mismatch
        before = [part for item in media[:missing] for part in (item, TextPart("\n"))]
        placed[first] = [*before, *placed[first]]
        return placed, {"placeholders_added": missing}
    if missing < 0 and policy == "drop_extra_placeholders":
        asked = sum(count for count, (role, _) in zip(found, turns, strict=True) if role is Role.USER)
        if asked < len(media):
            raise mismatch
        return _fill(_without_extra(turns, pattern, len(media)), pattern, media), {"placeholders_dropped": -missing}
    if missing:
        raise mismatch
    return _fill([text for _, text in turns], pattern, media), {}


def place_numbered(texts: Sequence[str], media: Sequence[Media]) -> list[list[Part]]:
    """The texts with the first ``<image n>`` replaced by picture n, counted from 1; later ones become "image n".

    Raises:
        SkipSample: a number without a picture, or a picture that no text names.
    """
    seen: list[int] = []

    def picture(match: re.Match[str]) -> Part:
        number = int(match[1])
        if not 1 <= number <= len(media):
            raise SkipSample(f"{match[0]} is not one of the {len(media)} pictures")
        if number in seen:
            return TextPart(f"image {number}")
        seen.append(number)
        return media[number - 1]

    placed = [split_text([TextPart(text)], NUMBERED, picture) for text in texts]
    unnamed = sorted(set(range(1, len(media) + 1)) - set(seen))
    if unnamed:
        raise SkipSample(f"no text names picture {unnamed[0]} of {len(media)} as <image {unnamed[0]}>")
    return placed


def _fill(texts: Sequence[str], pattern: str, media: Sequence[Media]) -> list[list[Part]]:
    following = iter(media)
    return [split_text([TextPart(text)], pattern, lambda _: next(following)) for text in texts]


def _without_extra(turns: Sequence[tuple[Role, str]], pattern: str, keep: int) -> list[str]:
    left = keep
    texts = []
    for role, text in turns:

        def cut(match: re.Match[str], asked: bool = role is Role.USER) -> str:
            nonlocal left
            if asked and left > 0:
                left -= 1
                return match[0]
            return ""

        texts.append(re.sub(f"(?:{pattern})\n?", cut, text))
    return texts
