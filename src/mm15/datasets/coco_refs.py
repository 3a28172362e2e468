"""COCO-shaped annotations: RefCOCO/+/g, LVIS, Objects365, COCO instances and COCO Captions.

``path`` is the annotation file, ``options.mode`` says of what kind: ``mdetr-json`` (``finetune_refcoco_train.json``,
where every "image" is one expression), ``refer-pickle`` (``refs(unc).p``, with COCO's instances file beside it) or
``coco-instances`` (pictures with objects, or with captions). ``bbox`` is x, y, width, height in stored pixels.
``options.tasks`` says what is asked: ``ground`` (phrase → box), ``refer`` (box or point → phrase), ``detect`` (every
object of a kind) or ``caption``. Questions are worded by us, in a few wordings that rotate by seed and key.

What is never asked, because the file does not know: all objects of a kind that LVIS lists as not exhaustive, or of a
kind with crowd boxes; the place of one object of a kind of which there are several. A picture's questions are at most
``options.turns``, about different kinds, drawn by seed and key. In category ``caption`` a caption is a document.

The file is held in memory once, while it is joined to rows; Objects365 takes some 20 GB then, and none later.

Example rows:
{"file_name": "a.jpg", "width": 90, "height": 60, "caption": "the left dog", "boxes": [[10, 20, 30, 30]], "ref_id": 1}
{"file_name": "a.jpg", "width": 90, "height": 60, "objects": [{"name": "dog", "box": [10, 20, 30.5, 30]}]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng
from mm15.base.types import Box, Category, Message, Part, Sample, TextPart, document
from mm15.datasets._coco import expression_rows, picture_rows, refer_rows
from mm15.datasets._context import RowContext
from mm15.datasets._joined import JoinedRows
from mm15.datasets._prompts import ask, listed
from mm15.datasets._regions import (
    Annotated,
    RegionOptions,
    about,
    annotated,
    from_xywh,
    join,
    options_of,
    phrase_with_boxes,
    size_of,
    talk,
)

USED = {"file_name", "width", "height", "caption", "boxes", "phrases", "objects", "open"}
MAKE = {"refer-pickle": refer_rows, "mdetr-json": expression_rows, "coco-instances": picture_rows}


class Options(RegionOptions):
    """What a recipe may set under ``options:``."""

    mode: Literal["refer-pickle", "mdetr-json", "coco-instances"] = "mdetr-json"
    tasks: tuple[Literal["ground", "refer", "detect", "caption"], ...] = Field(
        default=("ground", "refer"), min_length=1
    )
    split: str = ""
    """Of a REFER pickle: train, val, test, testA, testB; empty: all. In the other modes a file is a split."""
    instances: str = "instances.json"
    """Of a REFER pickle: the COCO file beside it."""
    images: str = ""
    """Folder in front of the file names, below ``root``: ``train2014``."""
    phrases: bool = False
    """MDETR: boxes belong to phrases of the caption (Flickr30k), not to the caption as a whole."""
    turns: int = Field(default=6, ge=1)
    """Most questions about one picture."""
    max_boxes: int = Field(default=20, ge=1)
    """``detect`` does not ask for kinds with more objects than this."""


def open_rows(path: Path, options: Options) -> JoinedRows:
    """Rows of an annotation file.

    Raises:
        ConfigError: a file is missing, is not of this shape, or has no such split.
    """
    sources = (path, path.parent / options.instances) if options.mode == "refer-pickle" else (path,)
    return JoinedRows(path, options, MAKE[options.mode], sources)


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is, or leaves nothing to ask in the wanted tasks.
    """
    options = options_of(context, Options)
    picture = annotated(context, row.get("file_name"), *size_of(row), exif=options.exif)
    if "captions" in row:
        messages = _caption(row, context, picture, options)
    elif "objects" in row:
        messages = _objects(row, context, picture, options)
    elif "phrases" in row:
        messages = _phrases(row, context, picture, options)
    else:
        messages = _expression(row, context, picture, options)
    return [context.sample(row, messages, USED)]


def _expression(row: dict[str, Any], context: RowContext, picture: Annotated, options: Options) -> list[Message]:
    said, boxes = row.get("caption"), row.get("boxes")
    if not isinstance(said, str) or not said.strip():
        raise SkipSample("no expression in 'caption'")
    if not isinstance(boxes, list) or not boxes:
        raise SkipSample("the expression has no box")
    found = [picture.box(from_xywh(box), options.outside) for box in boxes]
    tasks = [task for task in options.tasks if task == "ground" or (task == "refer" and len(found) == 1)]
    if not tasks:
        raise SkipSample(f"nothing to ask of an expression with {len(found)} boxes in tasks {', '.join(options.tasks)}")
    task = python_rng(options.seed, "task", context.key).choice(tasks)
    said = " ".join(said.split())
    if task == "ground":
        return talk(picture, [(ask("ground", options.seed, context.key, phrase=said), phrase_with_boxes(said, found))])
    return talk(picture, [(about("describe", found[0], context.key, found[0], options), [TextPart(said)])])


def _phrases(row: dict[str, Any], context: RowContext, picture: Annotated, options: Options) -> list[Message]:
    if "ground" not in options.tasks:
        raise SkipSample(f"phrases are asked for by the task 'ground', not by {', '.join(options.tasks)}")
    answers: dict[str, list[Part]] = {}
    for phrase in row["phrases"]:
        said = " ".join(str(phrase.get("text", "")).split())
        found = [picture.box(from_xywh(box), options.outside) for box in phrase.get("boxes") or []]
        if said and found:
            answers.setdefault(said, phrase_with_boxes(said, found))
    if not answers:
        raise SkipSample("no phrase of the caption has a box")
    kind = "ground" if len(answers) == 1 else "ground_phrases"
    question = ask(kind, options.seed, context.key, phrase=listed(list(answers)))
    return talk(picture, [(question, join(list(answers.values()), ", "))])


def _objects(row: dict[str, Any], context: RowContext, picture: Annotated, options: Options) -> list[Message]:
    kinds: dict[str, list[Box]] = {}
    unknown = set(row.get("open") or [])
    objects = row["objects"]
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise SkipSample("'objects' must be a list of {name, box}")
    for one in objects:
        if not isinstance(one.get("name"), str) or not one["name"].strip():
            raise SkipSample(f"an object without a name: {one!r}")
        if one.get("crowd"):
            unknown.add(one["name"])
        else:
            box = picture.box(from_xywh(one.get("box")), options.outside)
            kinds.setdefault(one["name"], []).append(box)
    rng = python_rng(options.seed, "objects", context.key)
    turns: list[tuple[list[Part], list[Part]]] = []
    for name in rng.sample(sorted(kinds), len(kinds)):
        boxes, key = kinds[name], (context.key, name)
        possible = {
            "refer": True,
            "ground": len(boxes) == 1 and name not in unknown,
            "detect": len(boxes) <= options.max_boxes and name not in unknown,
        }
        tasks = [task for task in options.tasks if possible.get(task)]
        if not tasks or len(turns) == options.turns:
            continue
        task = rng.choice(tasks)
        if task == "refer":
            box = rng.choice(boxes)
            turns.append((about("refer", box, context.key, box, options), [TextPart(name)]))
        else:
            phrase = f"the {name}" if task == "ground" else name
            turns.append((ask(task, options.seed, key, phrase=phrase), phrase_with_boxes(name, boxes)))
    if not turns:
        raise SkipSample(f"{len(objects)} objects, nothing to ask of them in tasks {', '.join(options.tasks)}")
    return talk(picture, turns)


def _caption(row: dict[str, Any], context: RowContext, picture: Annotated, options: Options) -> list[Message]:
    captions = row["captions"]
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise SkipSample("'captions' must be a list of texts")
    said = [" ".join(text.split()) for text in captions if text.strip()]
    if not said:
        raise SkipSample("a picture without a caption")
    chosen = python_rng(options.seed, "caption", context.key).choice(said)
    if context.category is Category.CAPTION:
        return [document(picture.part, chosen)]
    return talk(picture, [(ask("caption", options.seed, context.key), [TextPart(chosen)])])
