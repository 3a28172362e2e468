"""Mantis-Eval as its parquet release has it: two choices (B, A) and two short answers (three, red)."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "A": 25.0, "B": 25.0, "Final Answer: Three": 25.0, "red": 25.0}


def write(folder: Path) -> None:
    rows = [
        ("multi-choice", "<image> <image> Which has a dog?", ["(A) the first", "(B) the second"], "(B)"),
        ("multi-choice", "Which is brighter?", ["(A) the first", "(B) the second", "(C) neither"], "A"),
        ("short-answer", "<image><image> How many cups are there in all?", [], "three"),
        ("short-answer", "What colour do both have?", [], "Red"),
    ]
    parquet(
        folder / "mantis_eval" / "test-00000-of-00001.parquet",
        [
            {
                "id": f"mantis_{n}",
                "question_type": kind,
                "question": asked,
                "images": [cell(n, 60, 40), cell(n + 10, 40, 60)],
                "options": options,
                "answer": answer,
                "data_source": "web",
                "category": "general",
            }
            for n, (kind, asked, options, answer) in enumerate(rows)
        ],
    )
