"""ChartQA as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "yes": 25.0, "A": 0.0, "100": 50.0}


def write(folder: Path) -> None:
    right = ["100", "Yes", "Oslo", "104"]
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {"type": kind, "question": f"What is number {n}?", "answer": answer, "image": cell(n, 60 + n, 40)}
            for n, (answer, kind) in enumerate(zip(right, ["human_test", "augmented_test"] * 2, strict=True))
        ],
    )
