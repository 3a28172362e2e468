"""OCRBench as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "The Centre": 50.0, "a X^2": 25.0, "a x^2": 0.0}


def write(folder: Path) -> None:
    rows = [
        ("IIIT5K", "what is written in the image?", "Regular Text Recognition", ["CENTRE"]),
        ("docVQA", "how many?", "Doc-oriented VQA", ["12", "twelve"]),
        ("HME100k", "write it in LaTeX", "Handwritten Mathematical Expression Recognition", ["X ^ 2"]),
        ("IIIT5K", "what is written in the image?", "Regular Text Recognition", ["centre"]),
    ]
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {"dataset": source, "question": asked, "question_type": kind, "answer": right, "image": cell(n, 64, 20)}
            for n, (source, asked, kind, right) in enumerate(rows)
        ],
    )
