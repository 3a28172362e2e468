"""Visual Genome: regions, objects, attributes, relations and questions, joined with the sizes in ``image_data.json``.

``path`` is ``region_descriptions.json``, ``objects.json``, ``attributes.json``, ``relationships.json`` or
``question_answers.json``; ``options.part`` says which. A picture's number stands in ``image_id`` or, in some releases,
in ``id``. Regions give ``x, y, width, height``, objects ``x, y, w, h``, in stored pixels; boxes that leave the picture
are cut at its edge (``outside: refuse`` skips such a picture instead). Pictures lie in ``VG_100K`` and ``VG_100K_2``,
as their addresses say.

A row is a picture with at most ``turns`` of its annotations (``pictures: once``), or all of them in as many rows as
that takes (``all``). The annotations are not exhaustive: nobody is asked for every object of a kind, and an object is
only looked for by a name that no other box of the picture has.

Example rows:
{"image": "VG_100K/1.jpg", "width": 90, "height": 60, "regions": [
  {"region_id": 1, "phrase": "a red car", "x": 10, "y": 20, "width": 30, "height": 30}]}
{"image": "VG_100K_2/2.jpg", "width": 90, "height": 60, "objects": [
  {"object_id": 2, "names": ["dog"], "x": 1, "y": 2, "w": 30, "h": 40}]}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import Box, Part, RegionPart, Sample, TextPart
from mm15.datasets._context import RowContext
from mm15.datasets._joined import ADDRESS, DEFECT, JoinedRows, read_json, records
from mm15.datasets._prompts import SHORT, ask
from mm15.datasets._regions import (
    Annotated,
    RegionOptions,
    about,
    annotated,
    box_or_point,
    from_xywh,
    join,
    options_of,
    phrase_with_boxes,
    size_of,
    talk,
)

PARTS = {
    "regions": "regions",
    "objects": "objects",
    "attributes": "attributes",
    "relations": "relationships",
    "qa": "qas",
}
"""Part of the data set → the list in every record of its file, and in a row."""
USED = {"image", "width", "height", "repeated", *PARTS.values()}
Turn = tuple[list[Part], list[Part]]


class Options(RegionOptions):
    """What a recipe may set under ``options:``."""

    part: Literal["regions", "objects", "attributes", "relations", "qa"] = "regions"
    image_data: str = "image_data.json"
    """The file with the pictures' sizes and addresses, beside ``path``."""
    images: str = ""
    """Folder in front of ``VG_100K/1.jpg``, below ``root``."""
    tasks: tuple[Literal["ground", "refer"], ...] = Field(default=("ground", "refer"), min_length=1)
    """``refer``: box or point → words; ``ground``: words → box. Questions and answers of ``qa`` have neither."""
    pictures: Literal["once", "all"] = "once"
    turns: int = Field(default=8, ge=1)
    """Most annotations in one conversation."""


def open_rows(path: Path, options: Options) -> JoinedRows:
    """Rows of an annotation file.

    Raises:
        ConfigError: a file is missing or holds another part of the data set.
    """
    return JoinedRows(path, options, _rows, (path, path.parent / options.image_data))


def _rows(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    about_file = path.parent / options.image_data
    about = {_number(image): image for image in records(read_json(about_file), str(about_file))}
    field = PARTS[options.part]
    listed = records(read_json(path), str(path))
    if listed and all(field not in record for record in listed):
        held = [part for part, name in PARTS.items() if name in listed[0]]
        fix = f"; set options.part: {held[0]}" if held else ""
        raise ConfigError([f"no '{field}' in its records, which have: {', '.join(listed[0])}{fix}"], str(path))
    for index, record in enumerate(listed):
        number = _number(record)
        row: dict[str, Any] = {ADDRESS: f"[{index}]", "image_id": number}
        image, items = about.get(number), record.get(field)
        if number is None:
            row[DEFECT] = "neither 'image_id' nor 'id' is a whole number, or they differ"
        elif image is None:
            row[DEFECT] = f"picture {number} is not in {options.image_data}"
        elif not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            row[DEFECT] = f"'{field}' is no list of objects"
        else:
            row |= {"image": _file_name(image, options), "width": image.get("width"), "height": image.get("height")}
            if options.part in ("objects", "attributes"):
                row["repeated"] = _repeated(items)
            items = python_rng(options.seed, "items", number).sample(items, len(items))
            steps = range(0, max(1, len(items)), options.turns)
            for start in steps if options.pictures == "all" else steps[:1]:
                yield row | {field: items[start : start + options.turns]}
            continue
        yield row


def _repeated(items: list[dict[str, Any]]) -> list[str]:
    """Names that more than one box of the picture has."""
    first = [item["names"][0] if isinstance(item.get("names"), list) and item["names"] else "" for item in items]
    counted = Counter(" ".join(name.split()) for name in first if isinstance(name, str))
    return sorted(name for name, count in counted.items() if count > 1)


def _number(record: dict[str, Any]) -> int | None:
    """The picture's number: ``image_id``, in some releases ``id``. Some files carry both, and then they agree."""
    found = {record[name] for name in ("image_id", "id") if type(record.get(name)) is int}
    return found.pop() if len(found) == 1 else None


def _file_name(image: dict[str, Any], options: Any) -> str:
    parts = PurePosixPath(urlsplit(str(image.get("url", ""))).path).parts[-2:]
    name = "/".join(parts) if len(parts) == 2 else f"VG_100K/{_number(image)}.jpg"
    return f"{options.images.rstrip('/')}/{name}" if options.images else name


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is, or leaves nothing to ask in the wanted tasks.
    """
    options = options_of(context, Options)
    field = next((name for name in PARTS.values() if name in row), None)
    if field is None or not isinstance(row[field], list):
        raise SkipSample(f"needs a list in one of {', '.join(PARTS.values())}")
    picture = annotated(context, row.get("image"), *size_of(row), exif=options.exif)
    make = {
        "regions": _regions,
        "objects": _objects,
        "attributes": _objects,
        "relationships": _relations,
        "qas": _questions,
    }
    repeated = set(row.get("repeated") or [])
    turns = make[field](row[field], picture, options, context.key, repeated)
    if not turns:
        raise SkipSample(f"{len(row[field])} {field}, nothing to ask of them in tasks {', '.join(options.tasks)}")
    return [context.sample(row, talk(picture, turns), USED)]


def _regions(items: list[Any], picture: Annotated, options: Options, key: str, repeated: set[str]) -> list[Turn]:
    turns: list[Turn] = []
    for number, item in enumerate(items):
        said = _text(item.get("phrase"), f"region {number}: 'phrase'")
        box = picture.box(from_xywh([item.get(side) for side in ("x", "y", "width", "height")]), options.outside)
        if python_rng(options.seed, "task", key, number).choice(options.tasks) == "ground":
            question = ask("ground", options.seed, (key, number), phrase=said)
            turns.append((question, phrase_with_boxes(said, [box])))
        else:
            turns.append((about("describe", box, key, number, options), [TextPart(said)]))
    return turns


def _objects(items: list[Any], picture: Annotated, options: Options, key: str, repeated: set[str]) -> list[Turn]:
    """Objects; with ``attributes``, their look: "red, round ball"."""
    named = [(_name(item), item, _box(item, picture, options)) for item in items]
    counted = Counter(name for name, _, _ in named)
    turns: list[Turn] = []
    for number, (name, item, box) in enumerate(named):
        looks = item.get("attributes")
        if looks is not None and not (isinstance(looks, list) and all(isinstance(look, str) for look in looks)):
            raise SkipSample(f"'attributes' of {name!r} must be a list of texts")
        tasks = [task for task in options.tasks if task == "refer" or (counted[name] == 1 and name not in repeated)]
        if not tasks:
            continue
        looks = list(dict.fromkeys(look.strip() for look in looks or [] if look.strip()))
        said = f"{', '.join(looks)} {name}" if looks else name
        if python_rng(options.seed, "task", key, number).choice(tasks) == "ground":
            question = ask("ground", options.seed, (key, number), phrase=f"the {said}")
            turns.append((question, phrase_with_boxes(said, [box])))
        else:
            kind = "attributes" if looks else "refer"
            turns.append((about(kind, box, key, number, options), [TextPart(said)]))
    return turns


def _relations(items: list[Any], picture: Annotated, options: Options, key: str, repeated: set[str]) -> list[Turn]:
    turns: list[Turn] = []
    for number, item in enumerate(items):
        predicate = _text(item.get("predicate"), f"relation {number}: 'predicate'").lower()
        ends = [item.get(side) for side in ("subject", "object")]
        if not all(isinstance(end, dict) for end in ends):
            raise SkipSample(f"relation {number} needs a 'subject' and an 'object'")
        names, boxes = [_name(end) for end in ends], [_box(end, picture, options) for end in ends]
        if python_rng(options.seed, "task", key, number).choice(options.tasks) == "ground":
            said = f"the {names[0]} {predicate} the {names[1]}"
            grounded = [phrase_with_boxes(name, [box]) for name, box in zip(names, boxes, strict=True)]
            turns.append((ask("ground", options.seed, (key, number), phrase=said), join(grounded, f" {predicate} ")))
        else:
            one, other = (RegionPart(box_or_point(box, key, options.point_share)) for box in boxes)
            question = ask("relation", options.seed, (key, number), region=one, other=other)
            turns.append((question, [TextPart(f"{names[0]} {predicate} {names[1]}")]))
    return turns


def _questions(items: list[Any], picture: Annotated, options: Options, key: str, repeated: set[str]) -> list[Turn]:
    turns: list[Turn] = []
    for number, item in enumerate(items):
        question = _text(item.get("question"), f"question {number}: 'question'")
        answer = _text(item.get("answer"), f"question {number}: 'answer'")
        turns.append(([TextPart(f"{question}\n{SHORT}" if not turns else question)], [TextPart(answer)]))
    return turns


def _box(item: dict[str, Any], picture: Annotated, options: Options) -> Box:
    return picture.box(from_xywh([item.get(side) for side in ("x", "y", "w", "h")]), options.outside)


def _name(item: dict[str, Any]) -> str:
    """The first of ``names``; releases differ in using ``name`` for the ends of a relation."""
    names = item.get("names")
    return _text(names[0] if isinstance(names, list) and names else item.get("name"), "the name of an object")


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SkipSample(f"{what} must be a text, found {value!r}")
    return " ".join(value.split())
