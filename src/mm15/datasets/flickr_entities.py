"""Flickr30k Entities: captions whose phrases are marked, and the boxes of every phrase.

``path`` is the folder with ``Annotations/<id>.xml``, ``Sentences/<id>.txt`` (five lines each) and the id lists
``train.txt``, ``val.txt``, ``test.txt``; a row is one caption. ``[/EN#283585/people/clothing A young girl]`` is phrase
283585 of two types; phrases of one picture that mean the same thing share their id across its captions. Id 0, phrases
without an ``<object>`` and those with ``<nobndbox>1`` or ``<scene>1`` and no box cannot be pointed at: they stay text.

One phrase may have several boxes. ``options.boxes: merged`` (the protocol that MM1.5's lineage evaluates with) puts one
box around all of them, ``each`` keeps them. ``ground`` asks for the phrases' places, ``caption`` for the caption with
boxes after its phrases, ``plain`` for the caption alone.

Example rows:
{"image": "1.jpg", "width": 90, "height": 60, "sentence": "[/EN#7/people A young girl] runs .",
 "boxes": {"7": [[10, 20, 30, 40]]}}
{"image": "1.jpg", "width": 90, "height": 60, "sentence": "[/EN#0/other The end] of [/EN#8/scene/other a park] .",
 "boxes": {"8": [[0, 5, 90, 60], [4, 6, 50, 60]]}}
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import Box, Category, Part, Sample, TextPart, document
from mm15.datasets._context import RowContext
from mm15.datasets._joined import ADDRESS, DEFECT, JoinedRows, read_ids
from mm15.datasets._prompts import ask, listed
from mm15.datasets._regions import (
    Annotated,
    Outside,
    annotated,
    boxes_parts,
    join,
    options_of,
    phrase_with_boxes,
    size_of,
    talk,
)

USED = {"image", "width", "height", "boxes"}
_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[\w-]+)+) ([^\[\]]+)\]")


class Options(Strict):
    """What a recipe may set under ``options:``."""

    split: str = "train"
    """The id list to use: train, val, test; empty: every caption in the folder, test pictures too."""
    images: str = "flickr30k-images"
    """Folder of the pictures, below ``root``."""
    tasks: tuple[Literal["ground", "caption", "plain"], ...] = Field(default=("ground",), min_length=1)
    boxes: Literal["merged", "each"] = "merged"
    outside: Outside = "clip"
    exif: bool = True
    """Read the pictures' headers for an EXIF orientation, which turns the boxes."""
    seed: int = 0


def open_rows(path: Path, options: Options) -> JoinedRows:
    """Rows of the folder.

    Raises:
        ConfigError: a part of the folder is missing.
    """
    sources = [path / "Annotations", path / "Sentences"]
    return JoinedRows(path, options, _rows, tuple(sources + ([path / f"{options.split}.txt"] * bool(options.split))))


def _rows(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    if options.split:
        names = read_ids(path / f"{options.split}.txt")
    else:
        names = sorted(file.stem for file in (path / "Sentences").glob("*.txt"))
    for name in names:
        sentences = path / "Sentences" / f"{name}.txt"
        if not sentences.is_file():
            raise ConfigError([f"'{name}' is in the id list, but there is no {sentences}"], str(path))
        try:
            about = _annotation(path / "Annotations" / f"{name}.xml")
            lines = sentences.read_text(encoding="utf-8").splitlines()
        except (SkipSample, UnicodeDecodeError) as error:
            reason = error.reason if isinstance(error, SkipSample) else f"not UTF-8: {error}"
            yield {ADDRESS: f"{name}", DEFECT: reason}
            continue
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = {"image": f"{name}.jpg", "sentence": line.strip(), "id": name, **about}
                if options.images:
                    row["image"] = f"{options.images.rstrip('/')}/{name}.jpg"
                yield {ADDRESS: f"Sentences/{name}.txt:{number}", **row}


def _annotation(file: Path) -> dict[str, Any]:
    """Size and boxes by phrase id. One object may name several phrases, one phrase may own several objects."""
    try:
        data = file.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise SkipSample(f"{file.name} declares entities, which are not expanded")
        root = ElementTree.fromstring(data)
        size = {side: int(root.findtext(f"size/{side}", "0")) for side in ("width", "height")}
        boxes: dict[str, list[list[float]]] = {}
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is None:
                continue  # <nobndbox> or <scene>: nothing to point at.
            corners = [float(box.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for phrase in item.iter("name"):
                boxes.setdefault(str(phrase.text).strip(), []).append(corners)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise SkipSample(f"{file.name} cannot be read: {error}") from error
    return {**size, "boxes": boxes}


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is, or no phrase of the caption has a box.
    """
    options = options_of(context, Options)
    picture = annotated(context, row.get("image"), *size_of(row), exif=options.exif)
    pieces = read_phrases(row.get("sentence"))
    boxes = row.get("boxes")
    if not isinstance(boxes, dict):
        raise SkipSample("'boxes' must give lists of boxes by phrase id")
    found = {key: _boxes(boxes.get(key) or [], picture, options) for key, _ in pieces if key not in ("", "0")}
    caption = _tidy("".join(text for _, text in pieces))
    task = python_rng(options.seed, "task", context.key).choice(options.tasks)
    if task == "plain" and context.category is Category.CAPTION:
        return [context.sample(row, [document(picture.part, caption)], USED)]
    if task == "plain":
        question, answer = ask("caption", options.seed, context.key), [TextPart(caption)]
        return [context.sample(row, talk(picture, [(question, answer)]), USED)]
    named: dict[str, list[Part]] = {}
    for key, text in pieces:
        if found.get(key):
            named.setdefault(text, phrase_with_boxes(text, found[key]))
    if not named:
        raise SkipSample("no phrase of the caption has a box")
    if task == "ground":
        kind = "ground" if len(named) == 1 else "ground_phrases"
        question = ask(kind, options.seed, context.key, phrase=listed(list(named)))
        answer = join(list(named.values()), ", ")
    else:
        question = ask("grounded_caption", options.seed, context.key)
        answer = _with_boxes(pieces, found)
    return [context.sample(row, talk(picture, [(question, answer)]), USED)]


def read_phrases(sentence: object) -> list[tuple[str, str]]:
    """A caption in pieces (phrase id, text); the id is empty for what stands between phrases.

    Raises:
        SkipSample: no text, or a bracket that is no phrase.
    """
    if not isinstance(sentence, str) or not sentence.strip():
        raise SkipSample("no text in 'sentence'")
    pieces: list[tuple[str, str]] = []
    end = 0
    for match in _PHRASE.finditer(sentence):
        pieces += [("", sentence[end : match.start()]), (match[1], match[3].strip())]
        end = match.end()
    pieces = [piece for piece in [*pieces, ("", sentence[end:])] if piece[1]]
    for key, text in pieces:
        if not key and re.search(r"\[/EN#|\]", text):
            raise SkipSample(f"a bracket that is no phrase: {text.strip()!r}")
    return pieces


def _boxes(listed_boxes: list[Any], picture: Annotated, options: Options) -> list[Box]:
    boxes = [picture.box(box, options.outside) for box in listed_boxes]
    if options.boxes == "each" or len(boxes) < 2:
        return boxes
    sides = zip(*((box.x1, box.y1, box.x2, box.y2) for box in boxes), strict=True)
    x1, y1, x2, y2 = (pick(side) for pick, side in zip((min, min, max, max), sides, strict=True))
    return [Box(x1, y1, x2, y2)]


def _with_boxes(pieces: list[tuple[str, str]], found: dict[str, list[Box]]) -> list[Part]:
    """The caption with the boxes after each phrase. Captions are written in tokens: no space before punctuation."""
    parts: list[Part] = []
    for number, (key, text) in enumerate(pieces):
        text = _tidy(text, edges=False) if number else _tidy(text, edges=False).lstrip()
        if not key and parts and re.match(r"\s*[.,;:!?]", text):
            text = text.lstrip()
        parts.append(TextPart(text))
        if found.get(key):
            parts += [TextPart(" "), *boxes_parts(found[key])]
    if isinstance(parts[-1], TextPart):
        parts[-1] = TextPart(parts[-1].text.rstrip())
    return [part for part in parts if not isinstance(part, TextPart) or part.text]


def _tidy(text: str, edges: bool = True) -> str:
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" (?=[.,;:!?'](?:\s|$)|'s\b|n't\b)", "", text)
    return text.strip() if edges else text
