"""Tasks on RICO's Android screens: screen2words, widget captioning, taperception (Ferret-UI's public part).

``path`` is the CSV of the set; screens lie in ``options.screens`` below ``root`` as ``<id>.jpg`` and, for the two tasks
about elements, their view hierarchies as ``<id>.json``. Bounds in a hierarchy count on a canvas of 1440 x 2560,
whatever size the picture has: both axes are multiplied by its longer side / 2560, and cut at its edge.

    screen2words        screenId, summary; split/<split>_screens.txt           train, dev, test
    widget-captioning   datasetId, screenId, nodeId, captions ("a|b|c"); split/<split>.txt   train, dev, test
    taperception        img_id, object_id, label; a column ``split``           train, eval, test

A row is one summary, one caption or one label; ``meta`` keeps all summaries or captions of the same thing, to score
against. Widgets of ``datasetId`` "nr" have no public screens and are left out. ``nodeId`` is a path of child numbers
whose first stands for the root; ``object_id`` is a node's ``pointer``. Label 0 means tappable, 1 means not tappable.

Example rows:
{"screen": "54", "summary": "page shows a login form", "references": ["page shows a login form", "sign in page"]}
{"screen": "129", "summary": "list of songs"}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import Box, Part, RegionPart, Sample, TextPart, assistant, user
from mm15.datasets._context import RowContext, Upright, upright
from mm15.datasets._joined import ADDRESS, JoinedRows, read_csv, read_ids
from mm15.datasets._prompts import ask
from mm15.datasets._regions import box_or_point, clip_or_refuse, merged_text, options_of

CANVAS = 2560
"""Longer side of the canvas of RICO's view hierarchies."""
UNPUBLISHED = "nr"
USED = {"screen", "summary", "caption"}


class Options(Strict):
    """What a recipe may set under ``options:``."""

    task: Literal["screen2words", "widget-captioning", "taperception"] = "screen2words"
    split: str = "train"
    """Empty: every row of the CSV."""
    splits: str = "split"
    """Folder of the id lists, beside the CSV."""
    screens: str = "combined"
    """Folder of pictures and hierarchies, below ``root``: RICO's ``unique_uis/combined``."""
    point_share: float = Field(default=0, ge=0, le=1)
    """Share of elements that the user points at with a point; Ferret-UI uses boxes."""
    seed: int = 0


def open_rows(path: Path, options: Options) -> JoinedRows:
    """Rows of a CSV.

    Raises:
        ConfigError: a file or a column is missing, or there is no such split.
    """
    listed = [] if options.task == "taperception" or not options.split else [_split_file(path, options)]
    return JoinedRows(path, options, _rows, (path, *listed))


def _split_file(path: Path, options: Any) -> Path:
    ending = "_screens.txt" if options.task == "screen2words" else ".txt"
    return path.parent / options.splits / f"{options.split}{ending}"


def _rows(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    if options.task == "taperception":
        yield from _taps(path, options)
        return
    wanted = set(read_ids(_split_file(path, options))) if options.split else None
    if options.task == "screen2words":
        lines = [line for line in read_csv(path, ("screenId", "summary")) if _in(line[1]["screenId"], wanted)]
        summaries: dict[str, list[str]] = {}
        for _, row in lines:
            summaries.setdefault(row["screenId"], []).append(row["summary"])
        for number, row in lines:
            yield {
                ADDRESS: str(number),
                "screen": row["screenId"],
                "summary": row["summary"],
                "references": summaries[row["screenId"]],
            }
        return
    for number, row in read_csv(path, ("datasetId", "screenId", "nodeId", "captions")):
        if row["datasetId"] == UNPUBLISHED or not _in(row["screenId"], wanted):
            continue
        captions = [caption.strip() for caption in row["captions"].split("|")]
        for k, caption in enumerate(captions):
            about = {"screen": row["screenId"], "node": row["nodeId"], "caption": caption, "references": captions}
            yield {ADDRESS: f"{number} caption {k}", **about}


def _taps(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    found: set[str] = set()
    for number, row in read_csv(path, ("img_id", "object_id", "label", "split")):
        found.add(row["split"])
        if options.split and row["split"] != options.split:
            continue
        yield {ADDRESS: str(number), "screen": row["img_id"], "object": row["object_id"], "label": row["label"]}
    if options.split and options.split not in found:
        raise ConfigError([f"options.split: no '{options.split}'; splits: {', '.join(sorted(found))}"], str(path))


def _in(screen: str, wanted: set[str] | None) -> bool:
    return wanted is None or screen in wanted


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is; no such screen, no such element, or one without area.
    """
    options = options_of(context, Options)
    screen = row.get("screen")
    if not isinstance(screen, str) or not screen.strip().isalnum():
        raise SkipSample(f"{screen!r} is not the number of a screen")
    picture = f"{options.screens.rstrip('/')}/{screen.strip()}.jpg".lstrip("/")
    if "summary" in row:
        part = context.image(picture)
        question = ask("screen", options.seed, context.key)
        answer = _said(row["summary"], "summary")
        return [context.sample(row, [user(part, *merged_text([TextPart("\n"), *question])), assistant(answer)], USED)]
    seen = upright(context, picture)
    root = _root(context.json(context.media(picture.removesuffix(".jpg") + ".json")))
    if "node" in row:
        kind, node, answer = "widget", _by_path(root, row["node"]), _said(row.get("caption"), "caption")
    else:
        kind, node, answer = "tappable", _by_pointer(root, row.get("object")), _tappable(row.get("label"))
    box = _bounds(node, seen)
    region: Part = RegionPart(box_or_point(box, context.key, options.point_share))
    question = merged_text([TextPart("\n"), *ask(kind, options.seed, context.key, region=region)])
    return [context.sample(row, [user(seen.part, *question), assistant(answer)], USED)]


def _said(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SkipSample(f"an empty '{what}'")
    return " ".join(value.split())


def _tappable(label: object) -> str:
    """The labels of the file are the other way round than their name: 0 is tappable."""
    if str(label) not in ("0", "1"):
        raise SkipSample(f"'label' must be 0 (tappable) or 1 (not tappable), found {label!r}")
    return "Yes" if str(label) == "0" else "No"


def _root(hierarchy: object) -> dict[str, Any]:
    activity = hierarchy.get("activity") if isinstance(hierarchy, dict) else None
    root = activity.get("root") if isinstance(activity, dict) else None
    if not isinstance(root, dict):
        raise SkipSample("a view hierarchy without activity.root")
    return root


def _by_path(root: dict[str, Any], path: object) -> dict[str, Any]:
    """The node at ``0.1.2``: child 2 of child 1 of the root."""
    numbers = str(path).split(".")
    if not all(number.isdecimal() for number in numbers):
        raise SkipSample(f"'nodeId' must be child numbers with dots between, found {path!r}")
    node: Any = root
    for number in numbers[1:]:
        children = node.get("children") or []
        node = children[int(number)] if int(number) < len(children) else None
        if not isinstance(node, dict):
            raise SkipSample(f"the view hierarchy has no node {path}")
    return node


def _by_pointer(root: dict[str, Any], pointer: object) -> dict[str, Any]:
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        if node.get("pointer") == pointer:
            found.append(node)
        waiting += [child for child in node.get("children") or [] if isinstance(child, dict)]
    if not found or any(node.get("bounds") != found[0].get("bounds") for node in found):
        raise SkipSample(f"{len(found) or 'no'} nodes of the view hierarchy have the pointer {pointer!r}, expected one")
    return found[0]


def _bounds(node: dict[str, Any], seen: Upright) -> Box:
    bounds = node.get("bounds")
    if not isinstance(bounds, list) or len(bounds) != 4 or not all(type(n) in (int, float) for n in bounds):
        raise SkipSample(f"'bounds' of the element must be four numbers, found {bounds!r}")
    scale = max(seen.part.width, seen.part.height) / CANVAS
    return clip_or_refuse([number * scale for number in bounds], seen.part.width, seen.part.height, "clip")
