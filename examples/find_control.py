"""Where is a control? A web page on disk, a question, and the screenshot with the answer's box drawn on it.

    python examples/find_control.py BUNDLE PAGE.html "the search icon" --out found.png [--size 320x568]

The page is shown by headless Chromium in a window of that size, with no way to the network and to no file outside of
the page's own folder (``--also DIR`` adds one). Of what the page itself says of its elements the element under the
middle of the box is told, so that you see whether the answer is right. Any bundle answers; ``ui-mini`` (docs/UI.md) is
the miniature that is trained for it, on windows of 320x568.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mm15
from mm15.base.errors import ConfigError, MM15Error
from mm15.base.types import Box, Region
from mm15.build._browser import Browser
from mm15.build._shots import Element, Screen, take
from mm15.build.materials import Materials
from mm15.generate.chat import Chat, Reply, describe

QUESTION = "Where is {}?"


@dataclass(frozen=True, slots=True)
class Found:
    """The screen, the reply about it, and the smallest element under the middle of its first box or point, if any."""

    screen: Screen
    reply: Reply
    element: Element | None


def find_control(chat: Chat, page: Path, control: str, size: tuple[int, int], also: Sequence[Path] = ()) -> Found:
    """Show a page in a window of ``size`` (width, height in px) and ask where a control is.

    Raises:
        ConfigError: no Chromium on this machine, or no such page.
        PageError: the page cannot be shown, or shows fewer than three elements.
    """
    if not page.is_file():
        raise ConfigError([f"no such page: {page}; give an HTML file"], "page")
    with Browser([page.resolve().parent, *also]) as browser:
        screen = take(browser, Materials().root, page, *size)
    reply = chat.ask(QUESTION.format(control), images=[screen.picture])
    first = reply.regions[0].region if reply.regions else None
    return Found(screen, reply, element_at(screen, first) if first else None)


def element_at(screen: Screen, region: Region) -> Element | None:
    """The smallest element that holds the middle of a region."""
    x, y = (
        ((region.x1 + region.x2) / 2, (region.y1 + region.y2) / 2) if isinstance(region, Box) else (region.x, region.y)
    )
    under = [one for one in screen.elements if one.box[0] <= x < one.box[2] and one.box[1] <= y < one.box[3]]
    return min(under, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]), default=None)


def told(element: Element | None) -> str:
    """An element in words."""
    if element is None:
        return "no element of the page"
    called = element.text or element.mark or element.label
    return f"{element.type} '{called}'" if called else element.type


def window(text: str) -> tuple[int, int]:
    """``320x568`` as numbers. Raises ``ConfigError``."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 64 <= int(side) <= 4096 for side in sides):
        raise ConfigError([f"'{text}' is no window: WIDTHxHEIGHT in px, each 64 to 4096"], "--size")
    return int(sides[0]), int(sides[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("page", type=Path)
    parser.add_argument("control", help="as in: Where is CONTROL?")
    parser.add_argument("--out", type=Path, default=Path("found.png"))
    parser.add_argument("--size", default="320x568")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a folder that the page may read from")
    args = parser.parse_args(arguments)
    try:
        found = find_control(mm15.load(args.bundle), args.page, args.control, window(args.size), args.also)
        print(found.reply.text)
        if not found.reply.regions:
            print("The answer names no place; ask otherwise, or a bundle trained on screens (docs/UI.md).")
            return 1
        print("\n".join(describe(region) for region in found.reply.regions))
        print(f"there: {told(found.element)}\ndrawn: {found.reply.save_annotated(args.out)}")
        return 0
    except MM15Error as error:
        print(f"find_control: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
