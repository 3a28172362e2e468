"""Learning from the prompt: what two shown examples say must be used for the third picture.

In the spirit of VL-ICL (Zong et al., arXiv 2403.13164): ``open`` binds two invented names to two objects, as its fast
open-ended MiniImageNet does; ``operator`` shows two sums with a ``?`` for the sign, as its operator induction does.
With ``shots=0`` the same questions are asked without their examples, as a control. A row (llava)::

    {"id": "in_context/0", "image": ["images/in_context/000000.png", ...], "width": [60, 58, 51], "height": [...],
     "conversations": [{"from": "human", "value": "<image>\\nThis is a tazu.\\n<image>\\nThis is a bomi.\\n<image>\\n
     What is this?"}, {"from": "gpt", "value": "bomi"}], "task": "open", "shots": 2, "told": ["tazu", "bomi"]}

``told`` are the answers of the examples. Whoever repeats one of the two names is right half of the time in ``open`` and
never in ``operator``. Names are drawn for each question and are no English words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mm15.base.rng import python_rng
from mm15.build._typeset import typefaces
from mm15.build.canvas import BuildReport, Save, Thing, build_rows, cut_out, layout, paste, photo_crop, random_size
from mm15.build.materials import SPLITS, Materials, Split
from mm15.build.words import SHEET, typeset
from mm15.dist.map import Engine

SHOTS = 2
KINDS = ("open", "open", "operator", "operator", "open", "open")
"""In turn. Neighbours, so that which example is right alternates within a kind."""
SIGNS: dict[str, Callable[[int, int], int]] = {
    "plus": lambda a, b: a + b,
    "minus": lambda a, b: a - b,
    "times": lambda a, b: a * b,
}


class Asked(NamedTuple):
    """Pictures (examples first), what is said of the examples, the question, its answer, and the examples' answers."""

    pictures: list[Image.Image]
    said: list[str]
    question: str
    answer: str
    told: list[str]


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    shots: int = SHOTS,
    name: str = "in_context",
    workers: int = 2,
) -> BuildReport:
    """Write n rows as ``<out>/<name>.jsonl``. Question i depends on (seed, split, i) only.

    Args:
        shots: ``SHOTS`` examples, or 0 for the control.

    Raises:
        ValueError: another number of examples.
    """
    if shots not in (0, SHOTS):
        raise ValueError(f"in_context shows 0 or {SHOTS} examples, not {shots}")
    return build_rows(out, name, n, partial(_row, materials, split, seed, name, shots), Engine(workers=workers))


def _row(
    materials: Materials, split: Split, seed: int, name: str, shots: int, index: int, save: Save
) -> dict[str, Any]:
    kind = KINDS[index % len(KINDS)]
    rng = python_rng(seed, "in_context", split, index)
    asked = (_open if kind == "open" else _operator)(materials, split, index, rng)
    pictures, said = asked.pictures[SHOTS - shots :], asked.said[:shots]
    text = "\n".join(f"<image>\n{sentence}" for sentence in [*said, asked.question])
    return {
        "id": f"{name}/{index}",
        "image": [save(picture) for picture in pictures],
        "width": [picture.width for picture in pictures],
        "height": [picture.height for picture in pictures],
        "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": asked.answer}],
        "task": kind,
        "shots": shots,
        "told": asked.told,
    }


def _open(materials: Materials, split: Split, index: int, rng: random.Random) -> Asked:
    """Two objects under invented names, then one of them again: another size, stretch, tint and background."""
    objects = rng.sample(materials.names, SHOTS)
    names = [invented_name(materials, rng) for _ in objects]
    while names[0] == names[1]:
        names[1] = invented_name(materials, rng)
    right = index % SHOTS
    pictures = [_scene(materials, split, name, rng) for name in [*objects, objects[right]]]
    said = [f"This is a {name}." for name in names]
    return Asked(pictures, said, "What is this?", names[right], names)


def _operator(materials: Materials, split: Split, index: int, rng: random.Random) -> Asked:
    """Two sums with results from which the sign follows, and a third sum; no result occurs twice."""
    sign = list(SIGNS)[(index // len(KINDS) * 2 + index % 2) % len(SIGNS)]
    while True:
        sums = []
        for _ in range(SHOTS + 1):
            pair = rng.randint(1, 9), rng.randint(1, 9)
            sums.append((max(pair), min(pair)))
        results = [SIGNS[sign](*pair) for pair in sums]
        shown = list(zip(sums, results, strict=True))[:SHOTS]
        fitting = [other for other, work in SIGNS.items() if all(work(*pair) == result for pair, result in shown)]
        if fitting == [sign] and len(set(results)) == len(set(sums)) == SHOTS + 1:
            break
    fonts = typefaces(materials, split)
    pictures = [typeset([f"{a} ? {b}"], fonts, [], SHEET, rng)[0] for a, b in sums]
    told = [str(result) for result in results[:SHOTS]]
    said = [f"The result is {result}." for result in told]
    return Asked(pictures, said, "What is the result?", str(results[-1]), told)


def _scene(materials: Materials, split: Split, name: str, rng: random.Random) -> Image.Image:
    """One object on a photograph, of at most 64 px."""
    while True:
        drawing = rng.randrange(len(materials.pictures(name, split)))
        sticker = cut_out(materials, name, split, drawing, rng.randint(22, 34), rng, varied=True)
        width, height = random_size(rng, 48, 64)
        placed = layout([Thing(name, sticker)], width, height, rng)
        if placed:
            return paste(photo_crop(materials.photos(split), width, height, rng), placed)


def invented_name(materials: Materials, rng: random.Random) -> str:
    """Two syllables that are no English word, e.g. 'tazu' or 'bomir'."""
    while True:
        syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(2)]
        name = "".join(syllables) + rng.choice(["", "", "n", "r", "k", "x"])
        if name not in _real_words(materials):
            return name


@lru_cache(maxsize=8)
def _real_words(materials: Materials) -> frozenset[str]:
    return frozenset(word for split in SPLITS for word in materials.words(split)) | frozenset(materials.facts)
