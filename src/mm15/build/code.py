"""Pictures of small web pages and bar charts, and the code that draws them.

A row (llava, category code), written to ``code.jsonl``::

    {"id": "code/000001", "image": "images/code/000001.png", "width": 128, "height": 56, "conversations":
     [{"from": "human", "value": "<image>\\nWrite the HTML."}, {"from": "gpt", "value": "<h1>otter</h1><p>sun</p>"}],
     "task": "html", "chars": [...]}

The other task, ``bars``: "Write the chart code." → ``bars([3, 5, 2])``. Answers have at most 40 characters.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from mm15.base.rng import python_rng
from mm15.build._bars import bar_chart
from mm15.build._items import Item, write_items
from mm15.build._typeset import Color, draw_text, load_font, typefaces, wear
from mm15.build.canvas import BuildReport
from mm15.build.materials import Materials, Split

TINTS: dict[str, Color] = {"red": (196, 30, 40), "green": (20, 120, 50), "blue": (30, 70, 200)}
BLACK, WHITE = (20, 20, 20), (255, 255, 255)


def build(out: Path, split: Split, n: int, seed: int, materials: Materials, workers: int = 2) -> list[BuildReport]:
    """Write ``n`` rows to ``code.jsonl``, two pages to one chart."""
    return [write_items(out, "code", n, partial(make, split=split, seed=seed, materials=materials), workers=workers)]


def make(index: int, split: Split, seed: int, materials: Materials) -> Item:
    """Item ``index``: a function of its arguments alone."""
    rng = python_rng(seed, "code", split, index)
    path = rng.choice(typefaces(materials, split))
    return bars_item(path, rng) if index % 3 == 2 else html_item(path, materials.words(split), rng)


def html_item(path: Path, words: Sequence[str], rng: random.Random) -> Item:
    """A heading and below it a paragraph, a colored paragraph or a button."""
    kind = rng.choice(("p", "p class", "button"))
    # "<h1></h1>" and the longest of the others leave 12 characters of 40 for both words.
    first, second = (rng.choice(words) for _ in range(2))
    while len(first) + len(second) > 12:
        first, second = (rng.choice(words) for _ in range(2))
    tint = rng.choice(sorted(TINTS))
    heading, body = load_font(path, rng.randint(18, 21)), load_font(path, rng.randint(11, 13))
    left, top = rng.randint(4, 10), rng.randint(3, 7)
    width = left + round(max(heading.getlength(first), body.getlength(second) + 12)) + rng.randint(6, 16)
    height = top + sum(heading.getmetrics()) + sum(body.getmetrics()) + 12
    image = Image.new("RGB", (width, height), WHITE)
    baseline = top + heading.getmetrics()[0]
    chars = draw_text(image, first, left, baseline, heading, BLACK)
    ascent, descent = body.getmetrics()
    baseline = top + sum(heading.getmetrics()) + 4 + ascent
    if kind == "button":
        right = left + round(body.getlength(second)) + 11
        box = (left, baseline - ascent - 2, right, baseline + descent + 1)
        ImageDraw.Draw(image).rounded_rectangle(box, 4, fill=(225, 225, 230), outline=(90, 90, 100))
        chars += draw_text(image, second, left + 6, baseline, body, BLACK)
        code = f"<h1>{first}</h1><button>{second}</button>"
    else:
        colored = kind == "p class"
        chars += draw_text(image, second, left, baseline, body, TINTS[tint] if colored else BLACK)
        code = f"<h1>{first}</h1><p{f' class={tint}' if colored else ''}>{second}</p>"
    return Item("html", "Write the HTML.", code, wear(image, rng), chars)


def bars_item(path: Path, rng: random.Random) -> Item:
    """Two to five unlabelled bars over a grid of whole numbers; heights 1 to 6, at least one of them over 3."""
    values = [rng.randint(1, 6) for _ in range(rng.randint(2, 5))]
    values[rng.randrange(len(values))] = rng.randint(4, 6)
    image, _ = bar_chart([""] * len(values), values, load_font(path, 10), rng, grid=True, max_width=112)
    return Item("bars", "Write the chart code.", f"bars({values})", wear(image, rng))
