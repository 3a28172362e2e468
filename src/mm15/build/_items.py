"""One question about one picture, and the two public row formats it is written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mm15.build.canvas import BuildReport, Save, build_rows, llava_row
from mm15.dist.map import Engine


class Form(StrEnum):
    """``OCR``: document rows of the continual stage (docowl-jsonl). ``SFT``: conversations (llava)."""

    OCR = "ocr"
    SFT = "sft"


@dataclass(frozen=True, slots=True)
class Item:
    """What a builder makes for one row. ``chars`` are char boxes ``[c, x1, y1, x2, y2]`` in pixels of the picture."""

    task: str
    question: str
    answer: str
    image: Image.Image
    chars: Sequence[list] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Further keys of the row: what was drawn, so that the answer can be recomputed."""


def write_items(
    out: Path, name: str, n: int, make: Callable[[int], Item], form: Form = Form.SFT, workers: int = 2
) -> BuildReport:
    """Write ``<out>/<name>.jsonl`` (``<name>-ocr.jsonl`` in the OCR form) and its pictures.

    Args:
        make: item of row i; picklable and a function of i alone.
    """
    name = f"{name}-ocr" if form is Form.OCR else name
    return build_rows(out, name, n, partial(_row, name=name, make=make, form=form), Engine(workers=workers))


def _row(index: int, save: Save, *, name: str, make: Callable[[int], Item], form: Form) -> dict[str, Any]:
    item = make(index)
    if form is Form.SFT:
        turns = [(item.question, item.answer)]
        row = llava_row(f"{name}/{index:06d}", item.task, save(item.image), [item.image], turns)
    else:
        row = {
            "image": [save(item.image)],
            "messages": [
                {"role": "user", "content": f"<|image|>{item.question}"},
                {"role": "assistant", "content": item.answer},
            ],
            "task_name": item.task,
            "dataset_name": name,
            "width": item.image.width,
            "height": item.image.height,
        }
    return row | ({"chars": list(item.chars)} if item.chars else {}) | item.extra
