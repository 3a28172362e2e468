"""Questions for annotations that come without words of their own, in a few wordings each.

Which wording a question gets depends on the seed and its key only, so that a run can be repeated.
"""

from __future__ import annotations

import re

from mm15.base.rng import python_rng
from mm15.base.types import Part, TextPart

SHORT = "Answer the question using a single word or phrase."
"""The hint that sets with short answers carry (LLaVA-1.5, followed by MM1 and MM1.5)."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "ground": (
        "Where is {phrase}?",
        "What is the location of {phrase} in the image?",
        "Give the bounding box of {phrase}.",
        "Find {phrase} in this picture.",
        "Which region shows {phrase}?",
    ),
    "ground_phrases": (
        "What are the locations of {phrase}?",
        "Where are {phrase}?",
        "Give the bounding boxes of {phrase}.",
        "Find {phrase} in this picture.",
    ),
    "refer": (
        "What is {region}?",
        "What is at {region}?",
        "What does the region {region} show?",
        "Name the object at {region}.",
    ),
    "describe": (
        "Describe the region {region} in a phrase.",
        "What does {region} show?",
        "Give a short description of {region}.",
        "Which words single out what is at {region}?",
    ),
    "attributes": (
        "What does the object at {region} look like?",
        "Name the object at {region} and its attributes.",
        "Describe the look of {region}.",
    ),
    "relation": (
        "What is the relation between {region} and {other}?",
        "How does {region} relate to {other}?",
        "What connects {region} with {other}?",
    ),
    "detect": (
        "List every {phrase} in the picture.",
        "Where are all instances of {phrase}?",
        "Detect all objects of the kind {phrase}.",
        "Give the bounding boxes of every {phrase}.",
    ),
    "caption": (
        "Provide a one-sentence caption for the provided image.",
        "Describe the image in one sentence.",
        "What does the picture show? Answer with one sentence.",
        "Write a short caption for this picture.",
    ),
    "grounded_caption": (
        "Describe the image in one sentence and give the bounding boxes of what you mention.",
        "What does the picture show? Provide the bounding boxes of the mentioned objects.",
        "Write a caption with the location of every object in it.",
    ),
    "screen": (
        "Summarize this screen in a phrase.",
        "What is this screen for?",
        "Describe the purpose of this screen briefly.",
        "Give a short summary of the screenshot.",
    ),
    "widget": (
        "What does the element {region} do?",
        "Describe the function of the widget {region} in a phrase.",
        "Write a caption for the widget {region}.",
        "What is the interface element at {region} for?",
    ),
    "tappable": tuple(
        f"{question}\n{SHORT}"
        for question in (
            "Is the element {region} tappable?",
            "Can the user tap on {region}?",
            "Does the widget at {region} react to a tap?",
            "Would most people think that {region} can be tapped?",
        )
    ),
}
LETTER = "Answer with the option's letter from the given choices directly."


def ask(kind: str, seed: int, key: object, **slots: Part | str) -> list[Part]:
    """One wording of a question; ``{name}`` stands for a text or a region.

    Args:
        kind: a name in ``WORDINGS``.
        seed: of the data set's options.
        key: names the question; the same key gets the same wording.
        slots: what stands for each name of the wording.
    """
    wording = python_rng(seed, "wording", kind, key).choice(WORDINGS[kind])
    parts: list[Part] = []
    for number, piece in enumerate(re.split(r"\{(\w+)\}", wording)):
        value = slots[piece] if number % 2 else piece
        if not isinstance(value, str):
            parts.append(value)
        elif parts and isinstance(parts[-1], TextPart):
            parts[-1] = TextPart(parts[-1].text + value)
        elif value:
            parts.append(TextPart(value))
    return parts


def options_text(options: list[str]) -> str:
    """Answer options as lines ``A. …``, and the hint to answer with the letter."""
    lines = [f"{chr(ord('A') + number)}. {option}" for number, option in enumerate(options)]
    return "\n".join([*lines, LETTER])


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
