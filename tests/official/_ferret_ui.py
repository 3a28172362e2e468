"""Ferret-UI's elementary tasks in the form of its sample files: a file per task, boxes in absolute pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from official_fixture import save_picture

TOP, BOTTOM = [10, 40, 50, 120], [20, 140, 90, 180]
"""On 100 x 200 pixels: [100, 200, 500, 600] and [200, 700, 900, 900] on the scale of answers."""
REFER_ALWAYS = {"": 0.0, "Sign in": 100 / 3 / 2, "button": 100 / 3, "magnifier": 50 / 3}
"""ocr: two rows, one "Sign in". Icons: two rows, one "magnifier". Widgets: two rows, both "Button"."""
GROUND_ALWAYS = {
    "": 0.0,
    "[100, 200, 500, 600]": 100 * (1 / 2 + 1 + 0) / 3,
    "[200, 700, 900, 900]": 100 * (1 / 2 + 1 / 2 + 1) / 3,
}
"""Texts: one above, one below. Icons: one above, one at both places. Widgets: below. A list does not count."""


def row(number: int, asked: str, answer: str, question_boxes: Sequence[Any] = (), answer_boxes: Sequence[Any] = ()):
    """A row with an answer turn."""
    return {
        "id": number,
        "image": f"shots/{number % 2}.png",
        "image_h": 200,
        "image_w": 100,
        "conversations": [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": answer}],
        "box_x1y1x2y2": [list(question_boxes), list(answer_boxes)],
    }


def labelled(number: int, asked: str, label: str, box: Sequence[int]) -> dict[str, Any]:
    """A row of an evaluation file: a question, and its answer in ``label``."""
    made = row(number, asked, "", [box])
    return {**made, "conversations": made["conversations"][:1], "box_x1y1x2y2": [[box]], "label": label}


def write_task(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """A file of a task, and the screens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(list(rows)), encoding="utf-8")
    for number in (0, 1):
        save_picture(folder / "shots" / f"{number}.png", number, 100, 200)


def write_refer(folder: Path) -> None:
    """Two rows of each referring task, and a file of another task that is passed over."""
    at = "<bbox_location0>"
    write_task(folder, "test_ocr", [row(0, f"What is written at {at}?", "Sign in", [TOP]),
                                    labelled(1, f"Read {at}.", "Cancel", BOTTOM)])  # fmt: skip
    write_task(folder, "test_icon_recognition", [row(2, f"Which icon is {at}?", "magnifier", [TOP]),
                                                 row(3, f"Which icon is {at}?", "gear", [TOP])])  # fmt: skip
    write_task(folder, "test_widget_classification", [row(4, f"What is {at}?", "Button", [TOP]),
                                                      row(5, f"What is {at}?", "Button", [BOTTOM])])  # fmt: skip
    write_task(folder, "test_find_text", [row(6, "Find the text.", at, [], [TOP])])


def write_ground(folder: Path) -> None:
    """Two rows of find text and find icons, one of find widget and one of widget listing."""
    at, both = "<bbox_location0>", "<bbox_location0>, <bbox_location1>"
    write_task(folder, "test_find_text", [row(0, 'Where is the text "Sign in"?', at, [], [TOP]),
                                          row(1, 'Where is "Cancel"?', f"here {at}", [], [BOTTOM])])  # fmt: skip
    write_task(folder, "test_find_icons", [row(2, "Where is the gear?", at, [], [TOP]),
                                           row(3, "Where are the arrows?", both, [], [TOP, BOTTOM])])  # fmt: skip
    write_task(folder, "test_find_widget", [row(4, "Where is the slider?", at, [], [BOTTOM])])
    listed = 'button "Yes, now" <bbox_location0>, a slider <bbox_location1>'
    write_task(folder, "test_widget_listing", [row(5, "List the elements.", listed, [], [TOP, BOTTOM])])
