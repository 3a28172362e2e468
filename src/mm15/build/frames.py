"""Moments of clips as several pictures: order, number, direction and change over four frames of one clip.

Clips are made as in ``clips``, but nothing is encoded: the frames are pictures, evenly spaced over the clip, as
MM1.5-Video shows a clip to the model (arXiv 2409.20566, section 5: frames as several pictures, not split). Films come
from shipped strips, so PyAV is not needed. A row (llava)::

    {"id": "frames/0", "image": ["images/frames/000000.png", ...], "width": [60, ...], "height": [44, ...],
     "conversations": [{"from": "human", "value": "<image><image><image><image>\\nWhich way does the dog move?"},
                       {"from": "gpt", "value": "left"}], "task": "direction", "at": [2, 7, 12, 17], "frames": 20}

``at`` are the numbers of the frames shown. Only clips are kept whose answer follows from these: every place of a clip
with cuts is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build._clip_tasks import TASKS, Clip
from mm15.build._film import Film, open_strips
from mm15.build.canvas import BuildReport, Save, build_rows, llava_row
from mm15.build.materials import Materials, Split
from mm15.dist.map import Engine

KINDS = ("direction", "order", "cuts", "change")
"""Tasks of ``clips`` that four frames can answer."""
SHOWN = 4
SIZE = 64
"""Longest side of a frame in px, at most: one tile of the miniature."""


def build(
    out: Path, split: Split, n: int, seed: int, materials: Materials, name: str = "frames", workers: int = 2
) -> BuildReport:
    """Write n rows of four frames each as ``<out>/<name>.jsonl``. Tasks in turn, answers in turn within a task."""
    films = open_strips(materials, split)
    return build_rows(out, name, n, partial(_row, materials, split, seed, name, films), Engine(workers=workers))


def _row(
    materials: Materials, split: Split, seed: int, name: str, films: Sequence[Film], index: int, save: Save
) -> dict[str, Any]:
    turn, slot = divmod(index, len(KINDS))
    rng = python_rng(seed, "frames", split, name, index)
    while True:
        made = TASKS[KINDS[slot]](materials, split, films, turn, rng, SIZE)
        shown = moments(len(made.clip))
        if shows_every_scene(made.clip, shown):
            break
    frames = list(made.clip.frames())
    pictures = [frames[number] for number in shown]
    files = [save(picture) for picture in pictures]
    row = llava_row(f"{name}/{index}", made.task, files, pictures, [(made.question, made.answer)])
    return row | {"at": shown, "frames": len(frames)}


def moments(length: int) -> list[int]:
    """The middles of ``SHOWN`` equal parts of a clip of ``length`` frames."""
    return [(2 * k + 1) * length // (2 * SHOWN) for k in range(SHOWN)]


def shows_every_scene(clip: Clip, shown: Sequence[int]) -> bool:
    """Whether every scene of the clip has one of these frames."""
    return len({sum(number >= cut for cut in clip.cuts) for number in shown}) == len(clip.scenes)
