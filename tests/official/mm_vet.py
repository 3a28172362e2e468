"""MM-Vet as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0}


def write(folder: Path) -> None:
    abilities = ["ocr,math", "rec", "rec,know,gen", "math,ocr"]
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {
                "question_id": f"v1_{n}",
                "image": cell(n, 55, 35),
                "question": f"What is x in equation {n}?",
                "answer": f"-{n}<AND>-5",
                "image_source": "local",
                "capability": needed,
            }
            for n, needed in enumerate(abilities)
        ],
    )
