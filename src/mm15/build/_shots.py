"""Screens: a page in the browser → its picture, and every element that can be seen on it.

The elements come from ``assets/screens/probe.js``: type, text, label, box and whether a tap does something, for what is
whole inside the window and has nothing foreign on top. Here boxes become whole pixels, and what shows no contrast on
the picture is left out: such a text is there for programs only.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm15.build._browser import Browser, PageError
from mm15.build.canvas import PixelBox

TYPES = (
    "button",
    "checkbox",
    "dropdown",
    "icon",
    "link",
    "picture",
    "progress bar",
    "radio button",
    "slider",
    "tab",
    "text",
    "text field",
    "toggle",
)
"""What elements are; Ferret-UI's classes under their common names."""
CONTRAST = 24
"""Grey levels between the lightest and the darkest pixel, from which something can be seen."""
FEWEST = 3
"""Elements below which a screen is not worth a question."""


@dataclass(frozen=True, slots=True)
class Element:
    """Something on a screen. ``parent`` is the number of the element around it, -1 for none.

    ``label`` is what the page says of a control's use (or of a picture), ``mark`` what an icon shows; each may be
    empty.
    """

    type: str
    box: PixelBox
    text: str = ""
    label: str = ""
    mark: str = ""
    parent: int = -1
    tappable: bool = False
    lines: int = 1
    on: bool | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """A picture of a window, width x height px, and its elements in the order of the page."""

    picture: Image.Image
    elements: list[Element]
    title: str
    summaries: list[str]
    page_height: int
    refused: list[str] = field(default_factory=list)
    """Addresses that the page asked for and did not get."""

    @property
    def width(self) -> int:
        return self.picture.width

    @property
    def height(self) -> int:
        return self.picture.height


@lru_cache(maxsize=4)
def probe(assets: Path) -> str:
    """The script, a function of how far to scroll first."""
    return (assets / "screens" / "probe.js").read_text(encoding="utf-8")


def take(browser: Browser, assets: Path, page: Path, width: int, height: int, place: int = 0) -> Screen:
    """The screen of a page in a window of this size.

    Args:
        place: how many windows to scroll down; counted modulo the windows that the page fills.

    Raises:
        PageError: it cannot be shown, or shows fewer than ``FEWEST`` elements.
    """
    browser.open(page, width, height)
    seen = browser.run(f"({probe(assets)})(0)")
    if place:
        windows = max(1, seen["page_height"] // height)
        seen = browser.run(f"({probe(assets)})({place % windows * height})")
    with Image.open(io.BytesIO(browser.picture())) as opened:
        picture = opened.convert("RGB")
    if picture.size != (width, height):
        raise PageError(f"{page}: a picture of {picture.size} in a window of {(width, height)}")
    elements = visible(seen["elements"], picture)
    if len(elements) < FEWEST:
        raise PageError("fewer than three elements can be seen")
    summaries = list(dict.fromkeys(seen["summaries"]))
    return Screen(picture, elements, seen["title"], summaries, seen["page_height"], list(browser.refused))


def visible(found: list[dict[str, Any]], picture: Image.Image) -> list[Element]:
    """Probed elements in whole pixels, without those of which nothing shows; their children move up."""
    elements: list[Element] = []
    place: dict[int, int] = {-1: -1}
    grey = picture.convert("L")
    for number, raw in enumerate(found):
        parent = place[raw["parent"]]
        x1, y1, x2, y2 = raw["box"]
        box = (
            max(0, int(x1)),
            max(0, int(y1)),
            min(picture.width, -int(-x2 // 1)),
            min(picture.height, -int(-y2 // 1)),
        )
        levels = np.asarray(grey.crop(box))
        if int(levels.max()) - int(levels.min()) < CONTRAST:
            place[number] = parent
            continue
        place[number] = len(elements)
        known = {name: raw[name] for name in ("type", "text", "label", "tappable")}
        more = {name: raw[name] for name in ("mark", "lines", "on") if name in raw}
        elements.append(Element(box=box, parent=parent, **known, **more))
    return _without_doubles(elements)


def _without_doubles(elements: list[Element]) -> list[Element]:
    """Of elements with the same box only the first: wrappers that pages put around each other."""
    first: dict[PixelBox, int] = {}
    place: dict[int, int] = {-1: -1}
    kept: list[Element] = []
    for number, element in enumerate(elements):
        if element.box in first:
            place[number] = first[element.box]
            continue
        place[number] = first[element.box] = len(kept)
        kept.append(replace(element, parent=place[element.parent]))
    return kept
