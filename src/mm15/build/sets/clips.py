"""Short films → clips, cut and composed, with exact questions about order, number, direction and change.

Formats and their data sets, of n clips on each side (``mm15.build.clips`` says what the rows look like):

- ``llava``: open questions, ``video`` rows.
- ``nextqa``: the same questions with five answers to choose from, in the layout of NExT-QA.

Films of the user are used beside the shipped ones; things that move are shipped drawings. The longest side of a clip is
at most ``size`` px. Needs the extra ``video``.
"""

from __future__ import annotations

import warnings

import yaml

from mm15.build import clips
from mm15.build._film import ENDINGS
from mm15.build._sets import Side
from mm15.build._sources import NAME as SOURCES

FORMATS = clips.FORMATS
N = 600
SIZE = clips.SIZE


def build(side: Side) -> None:
    """Write the data sets of one side."""
    request = side.request
    files = side.files(*ENDINGS) if request.inputs else []
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
    counts = {report.name: report.rows for report in reports}
    for entry in yaml.safe_load((side.out / SOURCES).read_text(encoding="utf-8"))["sources"]:
        options = entry.get("options")
        side.add(entry["name"], counts[entry["name"]], entry["format"], entry["category"], entry["path"], options)
