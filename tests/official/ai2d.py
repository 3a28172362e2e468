"""AI2D as its parquet release has it: the right option as its number in text."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

# Right letters: A, C, A, D.
ALWAYS = {"": 0.0, "A": 50.0, "C. leaf": 25.0, "(d)": 25.0, "leaf": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {
                "question": f"Which part does letter {n} name?",
                "options": ["root", "stem", "leaf", "bark"],
                "answer": str(answer),
                "image": cell(n, 40, 30),
            }
            for n, answer in enumerate([0, 2, 0, 3])
        ],
    )
