"""Clips of the video benchmarks: where their files lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mm15.base.types import VideoPart
from mm15.datasets._clips import NoClip, clip
from mm15.evals.files import RowAt

FRAMES = 24
"""Pictures that a clip becomes (MM1.5-Video, section 9)."""
ENDINGS = ("mp4", "MP4", "mkv", "webm", "avi", "mov", "gif")


def find_clip(at: RowAt, name: str, folders: Sequence[str], start: object = None, end: object = None) -> VideoPart:
    """The clip with this name in the first of ``folders`` (below the benchmark's own) that has it.

    It is a file, the same with another ending, or a folder of numbered frames.

    Args:
        start: first second, or None.
        end: last second, or None for the clip's end.

    Raises:
        NoClip: no folder has it; the message names them.
        SkipSample: a folder without pictures, or bounds that are none.
    """
    for folder in folders:
        try:
            found = clip(at, f"{folder}/{name}" if folder else name, FRAMES, ENDINGS, start, end)
        except NoClip:
            continue
        if Path(found.media.path).exists():
            return found
    looked = ", ".join(folder or "." for folder in folders)
    raise NoClip(f"no clip {name!r} in {looked} below {at.root}: neither a video file nor a folder of frames")
