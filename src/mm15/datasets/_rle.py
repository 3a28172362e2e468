"""Run-length masks of COCO: which pixels an annotated object covers."""

from __future__ import annotations

import random

from mm15.base.errors import SkipSample


def run_lengths(counts: object) -> list[int]:
    """The runs of a mask, zeros first, then ones, and so on, down the columns of the picture.

    Args:
        counts: a list of runs, or COCO's compressed text: 5 bits per character from "0" on, from the fourth run on
            as differences to the run before the last (the format of COCO's own mask tools).

    Raises:
        SkipSample: neither of these.
    """
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts):
            raise SkipSample("the runs of a mask must be whole numbers from 0")
        return counts
    if not isinstance(counts, str):
        raise SkipSample(f"'counts' of a mask must be a list or a text, found {type(counts).__name__}")
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise SkipSample(f"{character!r} cannot be part of a compressed mask")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift or any(run < 0 for run in runs):
        raise SkipSample("a compressed mask that is cut off or damaged")
    return runs


def point_in_mask(mask: object, width: int, height: int, rng: random.Random) -> tuple[float, float]:
    """The middle of a pixel of the mask, every pixel equally likely.

    Args:
        mask: ``{"size": [height, width], "counts": ...}``.

    Raises:
        SkipSample: no such mask, of another size than the picture, or without a pixel.
    """
    if not isinstance(mask, dict) or mask.get("size") != [height, width]:
        found = mask.get("size") if isinstance(mask, dict) else mask
        raise SkipSample(f"a mask needs 'counts' and the 'size' [{height}, {width}], found {found!r}")
    runs = run_lengths(mask.get("counts"))
    if sum(runs) != width * height:
        raise SkipSample(f"a mask of {sum(runs)} pixels for a picture of {width} x {height}")
    covered = sum(runs[1::2])
    if not covered:
        raise SkipSample("a mask without a pixel")
    left, position = rng.randrange(covered), 0
    for number, run in enumerate(runs):
        if number % 2:
            if left < run:
                position += left
                break
            left -= run
        position += run
    x, y = divmod(position, height)
    return x + 0.5, y + 0.5
