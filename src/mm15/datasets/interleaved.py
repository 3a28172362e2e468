"""Documents of text and pictures: OBELICS, MMC4, MINT-1T and tars of numbered pieces. All text is trained.

Four layouts, told apart by what a row holds:

- ``obelics`` (and MINT-1T HTML): ``images`` and ``texts`` are lists of one length; at every position exactly one of the
  two is not null. ``metadata`` and ``general_metadata`` are JSON in strings.
- ``mmc4``: sentences in ``text_list``; every entry of ``image_info`` stands before (or after) the sentence whose number
  is its ``matched_text_index``. Several pictures may share a sentence.
- ``mint``: MINT-1T PDF and ArXiv, a tar of ``json`` (as obelics) and a multi-frame ``tiff``. The k-th picture is frame
  k; where ``image_metadata`` lists page and xref of what its name says (``page_3_image_17``), that entry's frame.
- ``tar``: members ``{doc}.{number}.text.txt`` and ``{doc}.{number}.image.jpg`` in the order of their numbers, and
  ``{doc}.metadata.txt`` with the names of all of them, one a line.

Pictures are file names, ``{bytes, path}``, or web addresses that are looked up in the source's store and never fetched.
One that is not there is left out and counted in ``meta["dropped_images"]``. Neighbouring texts are paragraphs, a blank
line apart; MMC4's sentences have a space between. ``width`` and ``height`` may list the sizes of the pictures.

Example rows:
{"images": [null, "a.jpg", null], "texts": ["Intro.", null, "More."],
 "metadata": "[null, {\\"alt_text\\": \\"a\\"}, null]"}
{"text_list": ["A cup.", "Two cups."], "url": "cups.html", "image_info": [
  {"image_name": "b.jpg", "raw_url": "b.jpg", "matched_text_index": 1, "matched_sim": 0.3}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, MediaRef, Part, Sample, TextPart, document
from mm15.datasets._context import MissingMedia, RowContext, pictures, says_something
from mm15.images.pixels import frame_sizes
from mm15.io.media import MAX_BYTES

JSON_COLUMNS = ("metadata", "general_metadata")
NUMBERED = re.compile(r"(\d+)\.(text\.txt|image\.\w+)")


class Options(Strict):
    """What a recipe may say about documents."""

    mode: Literal["auto", "obelics", "mmc4", "mint", "tar"] = "auto"
    """The layout; by default each row's content tells."""
    image_position: Literal["before", "after"] = "before"
    """Where an MMC4 picture stands next to its sentence."""
    sentence_joiner: str = " "
    """What stands between two sentences of MMC4."""
    min_images: int = Field(default=0, ge=0)
    """Documents left with fewer pictures are refused."""
    max_bytes: int = Field(default=MAX_BYTES, gt=0)
    """The largest ``tiff`` of MINT-1T that is read."""


Piece = ImagePart | str | None
"""A picture, a text, or a picture that is missing."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One document per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    options: Options = context.options or Options()
    mode = _mode(row) if options.mode == "auto" else options.mode
    joiner = options.sentence_joiner if mode == "mmc4" else "\n\n"
    if mode == "mmc4":
        pieces, meta = _mmc4(row, context, options)
    elif mode == "mint" and "json" in row:
        pieces, meta = _mint(row, context, options)
    elif mode == "tar":
        pieces, meta = _numbered(row, context)
    else:
        pieces, meta = _obelics(row, context)
    parts = _joined(pieces, joiner)
    if not says_something(parts):
        raise SkipSample("a document without text")
    kept = sum(isinstance(part, ImagePart) for part in parts)
    dropped = sum(piece is None for piece in pieces)
    if kept < options.min_images:
        raise SkipSample(f"{kept} pictures are left ({dropped} dropped), min_images is {options.min_images}")
    if dropped:
        meta["dropped_images"] = dropped
    return [context.sample(meta, [document(*parts)], set())]


def _mode(row: Mapping[str, Any]) -> str:
    if "text_list" in row or "image_info" in row:
        return "mmc4"
    if "json" in row:
        return "mint"
    if any(NUMBERED.fullmatch(name) for name in row):
        return "tar"
    return "obelics"


def _joined(pieces: Sequence[Piece], joiner: str) -> list[Part]:
    parts: list[Part] = []
    for piece in pieces:
        if isinstance(piece, ImagePart):
            parts.append(piece)
        elif piece is not None and parts and isinstance(parts[-1], TextPart):
            parts[-1] = TextPart(f"{parts[-1].text}{joiner}{piece}")
        elif piece:
            parts.append(TextPart(piece))
    return parts


def _lists(row: Mapping[str, Any]) -> tuple[list[Any], list[str | None]]:
    """``images`` and ``texts``: of one length, exactly one of the two set at every position."""
    images, texts = row.get("images"), row.get("texts")
    if not isinstance(images, list) or not isinstance(texts, list) or len(images) != len(texts):
        raise SkipSample("'images' and 'texts' must be two lists of one length")
    for position, (image, text) in enumerate(zip(images, texts, strict=True)):
        if (image is None) == (text is None):
            raise SkipSample(f"position {position}: exactly one of 'images' and 'texts' must be null")
        if text is not None and not isinstance(text, str):
            raise SkipSample(f"position {position}: the text is a {type(text).__name__}")
    return images, texts


def _obelics(row: Mapping[str, Any], context: RowContext) -> tuple[list[Piece], dict[str, Any]]:
    images, texts = _lists(row)
    found = [None if image is None else _found(image, context) for image in images]
    present = [media for media in found if media is not None]
    dropped = len(present) < sum(image is not None for image in images)
    if dropped and isinstance(row.get("width"), list):
        raise SkipSample("'width' and 'height' are listed, but some pictures are not in the store")
    following = iter(pictures({**row, "images": present}, context, field="images"))
    pieces: list[Piece] = [
        text if image is None else None if media is None else next(following)
        for image, text, media in zip(images, texts, found, strict=True)
    ]
    meta = {name: value for name, value in row.items() if name not in ("images", "texts", "width", "height")}
    for name in JSON_COLUMNS:
        if isinstance(meta.get(name), str):
            meta[name] = context.json(meta[name])
    return pieces, meta


def _mmc4(row: Mapping[str, Any], context: RowContext, options: Options) -> tuple[list[Piece], dict[str, Any]]:
    texts, images = row.get("text_list"), row.get("image_info")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SkipSample("'text_list' must be a list of texts")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise SkipSample("'image_info' must be a list of objects")
    at: list[list[Piece]] = [[] for _ in texts]
    for number, image in enumerate(images):
        index = image.get("matched_text_index")
        if type(index) is not int or not 0 <= index < len(texts):
            raise SkipSample(f"image {number}: 'matched_text_index' {index!r} is not one of the {len(texts)} sentences")
        at[index].append(_mmc4_image(image, number, context))
    pieces: list[Piece] = []
    for text, beside in zip(texts, at, strict=True):
        pieces += [*beside, text] if options.image_position == "before" else [text, *beside]
    used = {"text_list", "image_info", "similarity_matrix"}
    return pieces, {name: value for name, value in row.items() if name not in used}


def _mmc4_image(image: Mapping[str, Any], number: int, context: RowContext) -> ImagePart | None:
    """By its address or its name in the store if the source has one, else as a file of that name."""
    name, address = image.get("image_name"), image.get("raw_url")
    if name is None and address is None:
        raise SkipSample(f"image {number} has neither 'image_name' nor 'raw_url'")
    if context.store is None:
        return context.image(address if name is None else name)
    found = next((media for value in (address, name) if value and (media := context.store.find(value))), None)
    return None if found is None else context.image(found)


def _found(image: object, context: RowContext) -> MediaRef | None:
    """None for an address that is not in the source's store. Without a store an address refuses the row."""
    try:
        return context.media(image)
    except MissingMedia:
        if context.store is None:
            raise
        return None


def _mint(row: Mapping[str, Any], context: RowContext, options: Options) -> tuple[list[Piece], dict[str, Any]]:
    record = context.json(row.get("json"))
    if not isinstance(record, dict):
        raise SkipSample(f"the json of a document must be an object, found {type(record).__name__}")
    images, texts = _lists(record)
    listed = record.get("image_metadata")
    places = _places(listed if isinstance(listed, list) else [])
    sizes: list[tuple[int, int]] = []
    tiff = None
    if any(image is not None for image in images):
        stored = row.get("tiff", row.get("tif"))
        if stored is None:
            raise SkipSample("the document has pictures but no member 'tiff'")
        tiff = context.media(stored)
        sizes = frame_sizes(context.read(tiff, options.max_bytes), str(tiff))
    pieces: list[Piece] = []
    number = 0
    for image, text in zip(images, texts, strict=True):
        if image is None or tiff is None:
            pieces.append(text)
            continue
        frame = places.get(str(image), number)
        width, height = sizes[frame] if frame < len(sizes) else (0, 0)
        pieces.append(ImagePart(replace(tiff, frame=frame), width, height) if width else None)
        number += 1
    meta = {name: value for name, value in record.items() if name not in ("images", "texts")}
    return pieces, {**meta, "__key__": row.get("__key__", "")}


def _places(listed: Iterable[Any]) -> dict[str, int]:
    """Picture name → its number in ``image_metadata``, which is its frame."""
    places: dict[str, int] = {}
    for number, entry in enumerate(listed):
        if isinstance(entry, dict) and "page" in entry and "xref" in entry:
            places.setdefault(f"page_{entry['page']}_image_{entry['xref']}", number)
    return places


def _numbered(row: Mapping[str, Any], context: RowContext) -> tuple[list[Piece], dict[str, Any]]:
    listing = row.get("metadata.txt")
    if listing is None:
        raise SkipSample("no member 'metadata.txt': a document that was cut off")
    key = str(row.get("__key__", ""))
    prefix = f"{key.rpartition('/')[2]}."
    wanted = [line.strip().rpartition("/")[2] for line in context.text(listing).splitlines() if line.strip()]
    if not wanted:
        raise SkipSample("'metadata.txt' lists no members")
    gone = [name for name in wanted if name.removeprefix(prefix) not in row]
    if gone:
        raise SkipSample(f"a document that was cut off: {len(gone)} of {len(wanted)} members missing, first {gone[0]}")
    pieces: dict[int, Piece] = {}
    for name, value in row.items():
        if name in ("__key__", "metadata.txt"):
            continue
        match = NUMBERED.fullmatch(name)
        if match is None:
            raise SkipSample(f"member '{name}' is neither '<number>.text.txt' nor '<number>.image.<ending>'")
        if int(match[1]) in pieces:
            raise SkipSample(f"two members have the number {match[1]}")
        pieces[int(match[1])] = context.text(value) if match[2] == "text.txt" else context.image(value)
    return [pieces[number] for number in sorted(pieces)], {"__key__": key}
