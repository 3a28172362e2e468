"""ScienceQA as the parquet release of its part with pictures has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

# Right letters: A, B, B, B.
ALWAYS = {"": 0.0, "A": 25.0, "B": 75.0, "b": 75.0, "(B)": 0.0, "C": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "ScienceQA-IMG" / "test-00000-of-00001.parquet",
        [
            {
                "image": cell(n, 33, 44),
                "question": f"Will these magnets {n} attract or repel?",
                "choices": ["attract", "repel", "neither"][: 2 + n % 2],
                "answer": answer,
                "hint": "Two magnets are shown." if n % 2 else "",
                "task": "closed choice",
                "grade": "grade5",
                "subject": ("natural science", "social science")[n % 2],
                "topic": "physics",
            }
            for n, answer in enumerate([0, 1, 1, 1])
        ],
    )
