"""Documents of text and pictures for the first stage: real prose around pictures of the objects it is illustrated with.

Row (obelics-like)::

    {"images": [null, "images/interleaved/000000.png", null], "texts": ["WAL is faster in most scenarios.", null,
     "The picture shows a dog and a key."], "width": [84], "height": [70], "task": "illustrated"}

Three kinds in turn: ``illustrated`` (a paragraph, then a picture and what it shows), ``entry`` (a picture, then the
object's name and dictionary definition) and ``album`` (two or three pictures, each with its caption: the pattern that
answering from examples needs). A document has at most 400 characters.
"""

from __future__ import annotations

import random
import re
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mm15.base.rng import python_rng
from mm15.build.canvas import (
    COLORS,
    SHAPES,
    BuildReport,
    Save,
    build_rows,
    layout,
    listing,
    named_thing,
    paste,
    photo_crop,
    random_size,
    shape_thing,
)
from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine

TASKS = ("illustrated", "album", "entry")
MAX_PROSE = 120


def build(
    out: Path, split: Split, n: int, seed: int, materials: Materials, name: str = "interleaved", workers: int = 2
) -> BuildReport:
    """Write n documents as ``<out>/<name>.jsonl``."""
    return build_rows(out, name, n, partial(_row, materials, split, seed, name), Engine(workers=workers))


def _row(materials: Materials, split: Split, seed: int, name: str, index: int, save: Save) -> dict[str, Any]:
    rng = python_rng(seed, "interleaved", split, name, index)
    task = TASKS[index % len(TASKS)]
    pieces: list[str | Image.Image] = []
    if task == "illustrated":
        picture, phrases = _scene(materials, split, rng.sample(materials.names, rng.randint(1, 2)), rng)
        pieces = [first_sentences(rng.choice(materials.paragraphs(split)), MAX_PROSE), picture]
        pieces.append(f"The picture shows {listing(phrases)}.")
    elif task == "entry":
        for subject in rng.sample(materials.names, rng.randint(1, 2)):
            picture, _ = _scene(materials, split, [subject], rng)
            pieces += [picture, f"{subject.capitalize()}: {materials.facts[subject].about}."]
    else:
        for subject in rng.sample(materials.names, rng.randint(2, 3)):
            picture, phrases = _scene(materials, split, [subject], rng)
            pieces += [picture, f"This is {listing(phrases)}."]
    pictures = [piece for piece in pieces if isinstance(piece, Image.Image)]
    return {
        "images": [save(piece) if isinstance(piece, Image.Image) else None for piece in pieces],
        "texts": [piece if isinstance(piece, str) else None for piece in pieces],
        "width": [picture.width for picture in pictures],
        "height": [picture.height for picture in pictures],
        "task": task,
    }


def first_sentences(paragraph: str, limit: int) -> str:
    """The paragraph up to the last sentence that ends within ``limit`` characters, or up to the last word."""
    if len(paragraph) <= limit:
        return paragraph
    ends = [match.end() for match in re.finditer(r"[.!?](?= )", paragraph) if match.end() <= limit]
    return paragraph[: ends[-1]] if ends else paragraph[:limit].rpartition(" ")[0]


def _scene(materials: Materials, split: Split, names: list[str], rng: random.Random) -> tuple[Image.Image, list[str]]:
    """A small picture of these objects, sometimes with a shape beside them, and what it shows, left to right."""
    while True:
        things = [named_thing(materials, name, split, rng, (18, 32)) for name in names]
        if rng.random() < 1 / 3:
            things.append(shape_thing(rng.choice(SHAPES), rng.choice(list(COLORS)), rng.randint(13, 20)))
        width, height = random_size(rng, 48, 64)
        placed = layout(things, width, height, rng)
        if placed:
            picture = paste(photo_crop(materials.photos(split), width, height, rng), placed)
            return picture, [item.thing.phrase for item in placed]
