"""BLINK as its parquet release has it: Counting (A, B, A) and Jigsaw (B). Always A: mean of 2/3 and 0."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "A": 100 / 3, "(B)": 200 / 3, "C": 0.0}


def row(task: str, n: int, pictures: int, answer: str) -> dict[str, object]:
    shown = {f"image_{k + 1}": cell(n + k, 60, 40) if k < pictures else None for k in range(4)}
    choices = ["one", "two"]
    asked = "Which is right?"
    return {
        "idx": f"val_{task}_{n}",
        "question": asked,
        "sub_task": task,
        **shown,
        "choices": choices,
        "answer": f"({answer})",
        "prompt": f"{asked}\nSelect from the following choices.\n(A) one\n(B) two",
    }


def write(folder: Path) -> None:
    for task, pictures, answers in (("Counting", 1, "ABA"), ("Jigsaw", 3, "B")):
        rows = [row(task, n, pictures, answer) for n, answer in enumerate(answers, 1)]
        parquet(folder / task / "val-00000-of-00001.parquet", rows)
