"""Ferret-UI's elementary tasks: one question about one screen, its answer exact by the elements' boxes.

Nothing is asked that two elements would answer differently: texts, icons and kinds that are to be found are named once
on the screen, or all of them are the answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mm15.build._shots import Element, Screen
from mm15.build.canvas import PixelBox, with_article

LONGEST = 60
"""Characters of a text that is to be read."""
MOST = 24
"""Elements of a list; of a fuller screen one kind is asked for."""
WORDINGS = {
    "ocr": ("What does the text at {} say?", "Read the text in {}.", "What is written at {}?"),
    "icon_recognition": ("Which icon is at {}?", "What does the icon {} show?", "Name the icon at {}."),
    "widget_classification": (
        "What kind of element is {}?",
        "What is the type of the widget at {}?",
        "Which kind of widget is at {}?",
    ),
    "widget_listing": ("List the elements of the screen.", "Which widgets are on the screen?", "List all widgets."),
    "find_text": ('Where is the text "{}"?', 'Find the text "{}".', 'Give the box of the text "{}".'),
    "find_icon": ("Where is the {} icon?", "Find the {} icon.", "Give the box of the {} icon."),
    "find_icons": ("Where are the {} icons?", "Find all {} icons.", "Give the boxes of the {} icons."),
    "find_widget": ("Where is {}?", "Find {}.", "Give the box of {}."),
}
ROW = 8
BOX = "<bbox_location0>"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question and its answer; ``<bbox_locationK>`` is the K-th box of the question or of the answer."""

    question: str
    answer: str
    asked: list[PixelBox] = field(default_factory=list)
    answered: list[PixelBox] = field(default_factory=list)


def ask_of(task: str, screen: Screen, rng: random.Random) -> Ask | None:
    """A question of a task, or None where the screen offers none."""
    return TASKS[task](screen, rng)


def _ocr(screen: Screen, rng: random.Random) -> Ask | None:
    fit = [one for one in screen.elements if one.text and len(one.text) <= LONGEST and one.lines <= 3]
    if not fit:
        return None
    chosen = rng.choice(fit)
    return Ask(_words("ocr", rng, BOX), chosen.text, asked=[chosen.box])


def _icon_recognition(screen: Screen, rng: random.Random) -> Ask | None:
    fit = [one for one in screen.elements if one.type == "icon" and one.mark]
    if not fit:
        return None
    chosen = rng.choice(fit)
    return Ask(_words("icon_recognition", rng, BOX), chosen.mark.lower(), asked=[chosen.box])


def _widget_classification(screen: Screen, rng: random.Random) -> Ask:
    # Kinds first: half of all elements are texts.
    kind = rng.choice(sorted({one.type for one in screen.elements}))
    chosen = rng.choice([one for one in screen.elements if one.type == kind])
    return Ask(_words("widget_classification", rng, BOX), kind, asked=[chosen.box])


def _widget_listing(screen: Screen, rng: random.Random) -> Ask | None:
    listed = reading_order(screen.elements)
    question = _words("widget_listing", rng)
    if len(listed) > MOST:
        counts = Counter(one.type for one in listed)
        kinds = sorted(kind for kind, count in counts.items() if count <= MOST)
        if not kinds:
            return None
        kind = rng.choice(kinds)
        listed = [one for one in listed if one.type == kind]
        question = f"List every {kind} on the screen."
    told = [f"{_called(one)} <bbox_location{k}>" for k, one in enumerate(listed)]
    return Ask(question, ", ".join(told), answered=[one.box for one in listed])


def _find_text(screen: Screen, rng: random.Random) -> Ask | None:
    everything = " ".join(one.text.lower() for one in screen.elements)
    fit = [
        one
        for one in screen.elements
        if one.text and len(one.text) <= LONGEST and '"' not in one.text and everything.count(one.text.lower()) == 1
    ]
    if not fit:
        return None
    chosen = rng.choice(fit)
    return Ask(_words("find_text", rng, chosen.text), BOX, answered=[chosen.box])


def _find_icons(screen: Screen, rng: random.Random) -> Ask | None:
    marks = sorted({one.mark for one in screen.elements if one.type == "icon" and one.mark})
    if not marks:
        return None
    mark = rng.choice(marks)
    found = [one.box for one in reading_order(screen.elements) if one.type == "icon" and one.mark == mark]
    boxes = ", ".join(f"<bbox_location{k}>" for k in range(len(found)))
    wording = "find_icon" if len(found) == 1 else "find_icons"
    return Ask(_words(wording, rng, mark.lower()), boxes, answered=found)


def _find_widget(screen: Screen, rng: random.Random) -> Ask | None:
    kinds = Counter(one.type for one in screen.elements)
    names = Counter((one.type, one.text.lower()) for one in screen.elements)
    fit: list[tuple[Element, str]] = []
    for one in screen.elements:
        if one.type in ("text", "icon"):
            continue
        if kinds[one.type] == 1:
            fit.append((one, f"the {one.type}"))
        elif one.text and len(one.text) <= LONGEST and '"' not in one.text and names[one.type, one.text.lower()] == 1:
            fit.append((one, f'the {one.type} "{one.text}"'))
        elif one.on is not None and [o.on for o in screen.elements if o.type == one.type].count(one.on) == 1:
            fit.append((one, f"the {one.type} that is {'on' if one.on else 'off'}"))
    if not fit:
        return None
    chosen, called = rng.choice(fit)
    return Ask(_words("find_widget", rng, called), BOX, answered=[chosen.box])


TASKS: dict[str, Callable[[Screen, random.Random], Ask | None]] = {
    "ocr": _ocr,
    "icon_recognition": _icon_recognition,
    "widget_classification": _widget_classification,
    "widget_listing": _widget_listing,
    "find_text": _find_text,
    "find_icons": _find_icons,
    "find_widget": _find_widget,
}
"""Task, by its name in Ferret-UI's files → what to ask. In the first three boxes are given, in the others answered."""


def reading_order(elements: list[Element]) -> list[Element]:
    """Row by row, in a row left to right; the middles of a row's elements lie within ``ROW`` px below its highest."""
    rows: list[list[Element]] = []
    for one in sorted(elements, key=_middle):
        if rows and _middle(one) - _middle(rows[-1][0]) <= ROW:
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda one: one.box[0])]


def _middle(element: Element) -> float:
    return (element.box[1] + element.box[3]) / 2


def _called(element: Element) -> str:
    """How a list names an element: its kind, and what it says or shows."""
    said = element.text or element.mark.lower()
    short = said if len(said) <= LONGEST else f"{said[:LONGEST].rpartition(' ')[0] or said[:LONGEST]} ..."
    return f'{element.type} "{short}"' if said else with_article(element.type)


def _words(task: str, rng: random.Random, *said: str) -> str:
    wording = rng.choice(WORDINGS[task])
    return wording.replace("{}", said[0]) if said else wording
