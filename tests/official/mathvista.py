"""MathVista as the parquet release of its testmini split has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from official_fixture import cell, parquet

# Right answers: 60° (the third option), 12, 2.5, [1, 3].
ALWAYS = {"": 0.0, "C": 25.0, "12": 25.0, "The answer is 2.46": 25.0, "[1, 3]": 25.0, "hello": 0.0}


def rows() -> list[dict[str, Any]]:
    told = [
        ("multi_choice", "text", ["30°", "45°", "60°"], None, "60°"),
        ("free_form", "integer", None, None, "12"),
        ("free_form", "float", None, 1.0, "2.5"),
        ("free_form", "list", None, None, "[1, 3]"),
    ]
    return [
        {
            "pid": str(n),
            "question": f"What is number {n}?",
            "image": f"images/{n}.jpg",
            "decoded_image": cell(n, 80, 45),
            "choices": choices,
            "unit": "cm" if answer_type == "float" else None,
            "precision": precision,
            "answer": answer,
            "question_type": kind,
            "answer_type": answer_type,
            "metadata": {"task": ("figure question answering", "math word problem")[n % 2], "split": "testmini"},
            "query": f"Hint: Please answer the question.\nQuestion: What is number {n}?",
        }
        for n, (kind, answer_type, choices, precision, answer) in enumerate(told, 1)
    ]


def write(folder: Path) -> None:
    parquet(folder / "data" / "testmini-00000-of-00001.parquet", rows())
