"""HTML pages → screenshots in Ferret-UI's tasks, and annotations as RICO's screens have them.

Formats and their data sets, of n screens on each side (``mm15.build.screens`` says what the rows look like):

- ``ferret``: seven elementary tasks, a row per screen and task where the screen offers something to ask.
- ``rico``: screen2words-, widget-captioning- and taperception-style rows, with view hierarchies.

Without inputs the pages are shipped ones, filled with real texts, drawings and photographs. Pages of the user may read
files of the folders that were given, nothing else; give the folder that holds their style sheets too. Needs the program
Chromium.
"""

from __future__ import annotations

from collections import Counter

from mm15.build import screens
from mm15.build._sets import Side

FORMATS = screens.FORMATS
N = 500
SIZE = 915
"""All windows: the tallest telephone is 915 px high."""


def build(side: Side) -> None:
    """Write the data sets of one side."""
    request = side.request
    files = side.files(*screens.ENDINGS) if request.inputs else []
    reports = screens.build(
        side.out,
        side.split,
        side.n,
        request.seed,
        side.materials,
        also=[path if path.is_dir() else path.parent for path in request.inputs],
        pages=[file.path for file in files],
        formats=request.formats,
        size=request.size,
        engine=request.engine,
    )
    side.drop_all(reports[0].dropped)
    for url, count in Counter(reports[0].refused).most_common():
        side.drop_all([("a page asked for something outside of the folders", url)] * count)
    side.adopt({report.name: report.rows for report in reports})
