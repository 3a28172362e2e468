"""SEED-Bench as its parquet release has it: four questions about pictures, and one about a clip."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

# Right letters: A, B, B, D; the question about a clip is passed over.
ALWAYS = {"": 0.0, "A": 25.0, "b": 50.0, "Blue": 50.0, "E": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00006.parquet",
        [
            {
                "answer": answer,
                "choice_a": "red",
                "choice_b": "blue",
                "choice_c": "green",
                "choice_d": f"none of {n}",
                "data_id": [f"picture{n // 2}"],
                "data_type": "video" if kind > 9 else "image",
                "question": f"What color is thing {n}?",
                "question_id": str(100 + n),
                "question_type_id": kind,
                "image": [cell(n, 50, 70 + n)] * (2 if kind > 9 else 1),
            }
            for n, (answer, kind) in enumerate([("A", 1), ("B", 2), ("C", 10), ("B", 5), ("D", 9)])
        ],
    )
