"""Clips by name: a video file, the same with another ending, or a folder of numbered frames."""

from __future__ import annotations

import math
from pathlib import Path

from mm15.base.errors import SkipSample
from mm15.base.types import VideoPart
from mm15.datasets._context import RowContext
from mm15.io.clips import PICTURES


class NoClip(SkipSample):
    """Nothing of the clip's name lies there."""


def clip(
    context: RowContext, name: object, frames: int, endings: tuple[str, ...], start: object = None, end: object = None
) -> VideoPart:
    """The clip that a row names, below ``root``.

    Looked for in this order: the file or folder itself, the name with each of ``endings`` (after it, or in place of an
    ending it has), a folder of the name without its ending. A name with an ending of which nothing is there is taken
    as it stands, and refused when it is opened.

    Args:
        frames: pictures that the clip becomes.
        endings: file endings without a dot.
        start: first second, or None.
        end: last second, or None for the clip's end.

    Raises:
        NoClip: nothing of this name.
        SkipSample: a folder without pictures, or bounds that are none.
    """
    bounds = [_second(start), _second(end)]
    if end is not None and not bounds[0] < bounds[1]:
        raise SkipSample(f"'start' must lie before 'end', found {start!r} and {end!r}")
    wanted = context.media(name)
    path = Path(wanted.path)
    has_ending = path.suffix.lower().lstrip(".") in endings
    stem = path.with_suffix("") if has_ending else path
    tried = [path, *(stem.with_name(f"{stem.name}.{ending}") for ending in endings), stem]
    found = next((place for place in tried if place.exists()), path if has_ending else None)
    if found is None:
        raise NoClip(f"no clip {name!r}: neither a folder of frames nor a file ending in {', '.join(endings)}")
    if found.is_dir() and not any(entry.suffix.lower() in PICTURES for entry in found.iterdir()):
        raise SkipSample(f"the folder {name!r} holds no frames ({', '.join(sorted(PICTURES))})")
    media = context.media(str(Path(str(name)).with_name(found.name)))
    return VideoPart(media, frames, *bounds)


def _second(value: object) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise SkipSample(f"'start' and 'end' must be seconds from 0, found {value!r}")
    return float(value)
