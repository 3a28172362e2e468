"""LLaVA-Bench in the Wild as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "train-00000-of-00001.parquet",
        [
            {
                "question_id": n,
                "question": f"What is in part {n}?",
                "image": cell(n // 2, 70, 30),
                "category": category,
                "caption": f"A street with {n // 2} houses.",
                "gpt_answer": f"There are {n} houses.",
                "image_id": f"00{n // 2}.jpg",
            }
            for n, category in enumerate(["conv", "detail", "complex", "conv"])
        ],
    )
