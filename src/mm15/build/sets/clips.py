"""Short films → clips, cut and composed, with exact questions about order, number, direction and change.

Formats and their data sets, of n clips on each side (``mm15.build.clips`` says what the rows look like):

- ``llava``: open questions, ``video`` rows.
- ``nextqa``: the same questions with five answers to choose from, in the layout of NExT-QA.

Films of the user are used beside the shipped ones. Footage that ``splits.yaml`` knows by name, like Big Buck Bunny, is
on the side of the shipped clip that is cut from it, whatever is asked. Things that move are shipped drawings. The
longest side of a clip is at most ``size`` px. Needs the extra ``video``.
"""

from __future__ import annotations

import warnings

from mm15.build import clips
from mm15.build._film import ENDINGS
from mm15.build._sets import Side

FORMATS = clips.FORMATS
N = 600
SIZE = clips.SIZE


def build(side: Side) -> None:
    """Write the data sets of one side."""
    request = side.request
    files = side.files(*ENDINGS, known=side.materials.footage_side) if request.inputs else []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        reports = clips.build(
            side.out,
            side.split,
            side.n,
            request.seed,
            side.materials,
            files=[file.path for file in files],
            formats=request.formats,
            size=request.size,
            engine=request.engine,
        )
    for warning in told:
        if (text := str(warning.message)).startswith("left out: "):
            path, _, reason = text.removeprefix("left out: ").partition(": ")
            side.drop(reason, path)
    side.adopt({report.name: report.rows for report in reports})
