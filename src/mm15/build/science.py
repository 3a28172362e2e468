"""Science questions about the object in a picture: multiple choice by letter, and yes or no.

Rows (llava)::

    {"image": "images/science/000000.png", "width": 90, "height": 70, "conversations": [
      {"from": "human", "value": "<image>\\nWhich kind is it?\\nA. animal\\nB. vehicle\\nC. plant"},
      {"from": "gpt", "value": "B"}], "task": "kind", "objects": [{"name": "bus", "box": [12, 8, 60, 41]}]}
    {... "value": "<image>\\nCan it fly?"}, {"value": "no"}], "task": "fly", ...}

Facts come from ``assets/facts.yaml``. Letters take turns, so do yes and no; within an answer every fitting object is
equally likely.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build.canvas import (
    BuildReport,
    Save,
    build_rows,
    layout,
    llava_row,
    named_thing,
    paste,
    photo_crop,
    random_size,
)
from mm15.build.materials import Fact, Materials, Split
from mm15.dist.map import Engine

TASKS = ("kind", "alive", "kind", "fly", "legs", "water")
LETTERS = "ABC"
YES_NO: dict[str, tuple[str, Callable[[Fact], bool]]] = {
    "alive": ("Is it alive?", lambda fact: fact.alive),
    "fly": ("Can it fly?", lambda fact: fact.flies),
    "water": ("Does it live in water?", lambda fact: fact.in_water),
}
CHOICES: dict[str, tuple[str, Callable[[Fact], str]]] = {
    "kind": ("Which kind is it?", lambda fact: fact.kind),
    "legs": ("How many legs does it have?", lambda fact: str(fact.legs)),
}
"""Task → question and the property of the object that answers it."""


def build(
    out: Path, split: Split, n: int, seed: int, materials: Materials, name: str = "science", workers: int = 2
) -> BuildReport:
    """Write n questions as ``<out>/<name>.jsonl``."""
    return build_rows(out, name, n, partial(_row, materials, split, seed, name), Engine(workers=workers))


def _row(materials: Materials, split: Split, seed: int, name: str, index: int, save: Save) -> dict[str, Any]:
    rng = python_rng(seed, "science", split, name, index)
    round_, slot = divmod(index, len(TASKS))
    task = TASKS[slot]
    turn = round_ * TASKS.count(task) + TASKS[:slot].count(task)
    facts = {name: fact for name, fact in materials.facts.items() if name in materials.names}
    if task in YES_NO:
        question, holds = YES_NO[task]
        # Whether food is alive is a matter of opinion.
        fitting = [name for name, fact in facts.items() if holds(fact) == (turn % 2 == 0) and fact.kind != "food"]
        chosen, answer = rng.choice(fitting), ("yes", "no")[turn % 2]
    else:
        question, value_of = CHOICES[task]
        values = {name: value_of(fact) for name, fact in facts.items() if task != "legs" or fact.kind == "animal"}
        options = rng.sample(sorted(set(values.values())), len(LETTERS))
        answer = LETTERS[turn % len(LETTERS)]
        wanted = options[turn % len(LETTERS)]
        chosen = rng.choice([name for name, value in values.items() if value == wanted])
        question = "\n".join(
            [question, *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))]
        )
    while True:
        width, height = random_size(rng, 48, 64)
        placed = layout([named_thing(materials, chosen, split, rng, (24, 40))], width, height, rng)
        if placed:
            break
    picture = paste(photo_crop(materials.photos(split), width, height, rng), placed)
    row = llava_row(f"{name}/{index}", task, save(picture), [picture], [(question, answer)])
    return row | {"objects": [item.entry() for item in placed]}
