"""MMMU as its parquet release has it: a folder for every subject; options and several right answers as Python lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from official_fixture import cell, parquet

# Right answers: B; A; C; 24/7 or 3.43.
ALWAYS = {"": 0.0, "A": 25.0, "The answer is (B).": 25.0, "it is 24/7": 25.0, "3.43": 25.0, "7": 0.0}


def row(subject: str, number: int, asked: str, options: list[str], answer: str, pictures: int) -> dict[str, Any]:
    shown = {f"image_{n}": cell(10 * number + n, 30 + n, 50) if n <= pictures else None for n in range(1, 8)}
    return {
        "id": f"validation_{subject}_{number}",
        "question": asked,
        "options": repr(options),
        "explanation": "",
        **shown,
        "img_type": "['Tables']",
        "answer": answer,
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice" if options else "open",
        "subfield": "Costs",
    }


def write(folder: Path) -> None:
    accounting = [
        row("Accounting", 1, "<image 1> What is the rent?", ["$6", "$8", "$10"], "B", 1),
        row("Accounting", 2, "Which of these is it?", ["<image 1>", "<image 2>"], "A", 2),
    ]
    science = [
        row("Agriculture_Science", 1, "Compare <image 1> with <image 2>.", ["less", "it's equal", "more"], "C", 2),
        row("Agriculture_Science", 2, "<image 1> What is the ratio?", [], "['24/7', '3.43']", 1),
    ]
    parquet(folder / "Accounting" / "validation-00000-of-00001.parquet", accounting)
    parquet(folder / "Agriculture_Science" / "validation-00000-of-00001.parquet", science)
