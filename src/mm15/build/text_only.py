"""Text without pictures: small tasks about real words and sentences, and plain real text.

``text-only.jsonl`` (llava without image, category text_only)::

    {"id": "text-only/000001", "conversations": [{"from": "human", "value": "Spell otter."},
     {"from": "gpt", "value": "o-t-t-e-r"}], "task": "spell"}

``text.jsonl`` (category text, for stage 1): ``{"text": "At most 300 characters of a real paragraph ..."}``.
"""

from __future__ import annotations

import random
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build.canvas import BuildReport, Save, build_rows
from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine

TASKS = ("spell", "copy", "first_letter", "finish", "last_letter", "capitals", "spell", "letters")
MAX_TEXT = 160
"""Longest plain text in characters."""


def build(out: Path, split: Split, n: int, seed: int, materials: Materials, workers: int = 2) -> list[BuildReport]:
    """Write ``n`` rows each to ``text-only.jsonl`` and ``text.jsonl``."""
    makers = {"text-only": task_row, "text": text_row}
    return [
        build_rows(out, name, n, partial(make, split=split, seed=seed, materials=materials), Engine(workers=workers))
        for name, make in makers.items()
    ]


def task_row(index: int, save: Save, split: Split, seed: int, materials: Materials) -> dict[str, Any]:
    """Row ``index`` of ``text-only``: tasks take turns. ``save`` is not used: there is no picture."""
    rng = python_rng(seed, "text-only", split, index)
    task = TASKS[index % len(TASKS)]
    question, answer = ask(task, materials, split, rng)
    conversations = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": f"text-only/{index:06d}", "conversations": conversations, "task": task}


def ask(task: str, materials: Materials, split: Split, rng: random.Random) -> tuple[str, str]:
    """Question (at most 40 characters) and answer."""
    if task == "finish":
        return _finish(materials.paragraphs(split), rng)
    word = rng.choice(materials.words(split))
    return {
        "spell": (f"Spell {word}.", "-".join(word)),
        "copy": (f"Say {word}.", word),
        "first_letter": (f"What is the first letter of {word}?", word[0]),
        "last_letter": (f"What is the last letter of {word}?", word[-1]),
        "capitals": (f"Write {word} in capitals.", word.upper()),
        "letters": (f"How many letters does {word} have?", str(len(word))),
    }[task]


def _finish(paragraphs: list[str], rng: random.Random) -> tuple[str, str]:
    """The end of a real sentence without its last word; the answer is that word."""
    while True:
        sentence = rng.choice(rng.choice(paragraphs).split(". ")).rstrip(".").split()
        if len(sentence) >= 4 and sentence[-1].isascii() and sentence[-1].isalpha():
            start = len(sentence) - 1
            while start and len(" ".join(sentence[start - 1 : -1])) <= 30:
                start -= 1
            if len(sentence) - 1 - start >= 3:
                return f"Finish: {' '.join(sentence[start:-1])}", sentence[-1]


def text_row(index: int, save: Save, split: Split, seed: int, materials: Materials) -> dict[str, Any]:
    """Row ``index`` of ``text``: paragraphs take turns in a random order, each cut to some of its sentences."""
    paragraphs = materials.paragraphs(split)
    lap, place = divmod(index, len(paragraphs))
    sentences = paragraphs[_order(len(paragraphs), seed, split, lap)[place]].split(". ")
    start = python_rng(seed, "text", split, "start", index).randrange(len(sentences)) if lap else 0
    text = ". ".join(sentences[start:])
    return {"text": text if len(text) <= MAX_TEXT else text[: text.rindex(" ", 0, MAX_TEXT + 1)]}


@lru_cache(maxsize=4)
def _order(count: int, seed: int, split: Split, lap: int) -> list[int]:
    return python_rng(seed, "text", split, lap).sample(range(count), count)
