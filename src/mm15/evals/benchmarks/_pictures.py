"""Several pictures in one question: where they stand in its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Part
from mm15.evals.files import RowAt

MARKER = "<image>"


def placed(text: str, pictures: Sequence[ImagePart]) -> list[Part | str]:
    """The text with the k-th picture in place of the k-th ``<image>``; pictures without one stand in front of it all.

    Raises:
        SkipSample: more markers than pictures, or no picture.
    """
    pieces = text.split(MARKER)
    marked = len(pieces) - 1
    if marked > len(pictures) or not pictures:
        raise SkipSample(f"{marked} {MARKER} in the question and {len(pictures)} pictures")
    front = list(pictures[: len(pictures) - marked])
    parts: list[Part | str] = [*front, "\n"] if front else []
    parts.append(pieces[0])
    for picture, piece in zip(pictures[len(front) :], pieces[1:], strict=True):
        parts += [picture, piece]
    return [part for part in parts if part != ""]


def bare_option(option: str) -> str:
    """An option without the letter in front of it: "(A) red", "A. red" and "A: red" are red."""
    return re.sub(r"^\s*(?:\([A-Z]\)|[A-Z][.:])\s*", "", option)


def find_picture(at: RowAt, name: str, folders: Sequence[str]) -> ImagePart:
    """The picture file with this name in the first of ``folders`` (below the benchmark's own) that has it.

    Where none has it, it is that of the first, and reported as absent when all rows are read.

    Raises:
        SkipSample: the name leaves the folder.
    """
    named = [at.image(f"{folder}/{name}" if folder else name) for folder in folders]
    return next((part for part in named if Path(part.media.path).exists()), named[0])
