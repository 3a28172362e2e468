"""A screen as RICO's annotations describe one: its view hierarchy, and the rows of three sets about it.

Bounds count on a canvas whose longer side is 2560 (``datasets/rico_ui.py`` turns them back). A node is found by its
path of child numbers below the root, or by its ``pointer``.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm15.build._shots import Element, Screen
from mm15.build.materials import Split
from mm15.io.atomic import write_atomic

ANNOTATIONS = {
    "screen2words": "screen_summaries.csv",
    "widget-captioning": "widget_captions.csv",
    "taperception": "rico_tap_annotations_idsonly.csv",
}
"""Task → the CSV of the published set."""
CLASSES = {
    "button": "android.widget.Button",
    "checkbox": "android.widget.CheckBox",
    "dropdown": "android.widget.Spinner",
    "icon": "android.widget.ImageView",
    "link": "android.widget.TextView",
    "picture": "android.widget.ImageView",
    "progress bar": "android.widget.ProgressBar",
    "radio button": "android.widget.RadioButton",
    "slider": "android.widget.SeekBar",
    "tab": "android.widget.TabWidget",
    "text": "android.widget.TextView",
    "text field": "android.widget.EditText",
    "toggle": "android.widget.Switch",
}
"""Kind of element → the Android class of the same use."""
CANVAS = 2560
"""Longer side that RICO's bounds count on."""
CAPTIONS, TAPS = 3, 2
"""Most captioned controls of a screen, and most elements of each answer about taps."""


@dataclass(frozen=True, slots=True)
class Notes:
    """Rows about one screen: summaries, (path, caption) of controls, (pointer, label) of taps."""

    screen: str
    summaries: list[str]
    captions: list[tuple[str, str]]
    taps: list[tuple[str, int]]


def pointer(index: int, number: int) -> str:
    """The name of element ``number`` of screen ``index``."""
    return f"{index:06x}{number:04x}"


def hierarchy(screen: Screen, index: int) -> dict[str, Any]:
    """RICO's JSON of a screen. Children stand in the order of the page."""
    scale = CANVAS / max(screen.width, screen.height)

    def node(number: int) -> dict[str, Any]:
        element = screen.elements[number]
        below = [node(other) for other, child in enumerate(screen.elements) if child.parent == number]
        return {
            "class": CLASSES[element.type],
            "bounds": [round(side * scale, 3) for side in element.box],
            "text": element.text,
            "content-desc": [element.label or None],
            "clickable": element.tappable,
            "visible-to-user": True,
            "pointer": pointer(index, number),
            "children": below,
        }

    top = [node(number) for number, element in enumerate(screen.elements) if element.parent < 0]
    bounds = [0, 0, round(screen.width * scale), round(screen.height * scale)]
    root = {"class": "android.widget.FrameLayout", "bounds": bounds, "pointer": "root", "children": top}
    return {"activity_name": screen.title, "activity": {"root": root}}


def write_hierarchy(file: Path, screen: Screen, index: int) -> None:
    """Write ``hierarchy`` as a JSON file."""
    file.write_text(json.dumps(hierarchy(screen, index)), encoding="utf-8")


def path_of(elements: Sequence[Element], number: int) -> str:
    """``nodeId`` of an element: 0 for the root, then child numbers."""
    steps: list[str] = []
    while number >= 0:
        parent = elements[number].parent
        siblings = [other for other, element in enumerate(elements) if element.parent == parent]
        steps.append(str(siblings.index(number)))
        number = parent
    return ".".join(["0", *reversed(steps)])


def notes_of(screen: Screen, index: int, rng: random.Random) -> Notes:
    """What the page says of itself and of its controls; as many tappable elements as others."""
    elements = screen.elements
    summaries = screen.summaries or ([screen.title] if screen.title else [])
    telling = [
        number
        for number, element in enumerate(elements)
        if element.type not in ("text", "picture", "link")
        and element.label
        and element.label.lower() not in (element.text.lower(), element.mark.lower())
    ]
    chosen = sorted(rng.sample(telling, min(CAPTIONS, len(telling))))
    captions = [(path_of(elements, number), elements[number].label.replace("|", " ")) for number in chosen]
    yes = [number for number, element in enumerate(elements) if element.tappable]
    no = [number for number, element in enumerate(elements) if not element.tappable and element.parent < 0]
    count = min(TAPS, len(yes), len(no))
    taps = [(pointer(index, number), 0) for number in rng.sample(yes, count)]
    taps += [(pointer(index, number), 1) for number in rng.sample(no, count)]
    return Notes(f"{index:06d}", summaries, captions, taps)


def write_notes(folder: Path, notes: Sequence[Notes], split: Split) -> dict[str, int]:
    """The three CSVs and their lists of screens; rows per task."""
    side = "train" if split == "train" else "test"
    screens = [(note.screen, text) for note in notes for text in note.summaries]
    widgets = [("html", note.screen, path, caption) for note in notes for path, caption in note.captions]
    taps = [(note.screen, name, label, "", side) for note in notes for name, label in note.taps]
    tables = {
        "screen2words": (("screenId", "summary"), screens),
        "widget-captioning": (("datasetId", "screenId", "nodeId", "captions"), widgets),
        "taperception": (("img_id", "object_id", "label", "raters_marked_tappable", "split"), taps),
    }
    for task, (columns, rows) in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_atomic(folder / ANNOTATIONS[task], text.getvalue())
    listed = "".join(f"{note.screen}\n" for note in notes)
    for name in (f"{side}_screens.txt", f"{side}.txt"):
        write_atomic(folder / "split" / name, listed)
    return {task: len(rows) for task, (_, rows) in tables.items()}
