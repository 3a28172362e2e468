"""MuirBench as its parquet release has it: right options A, B, C, A."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "A": 50.0, "B. the second": 25.0, "D": 0.0}


def write(folder: Path) -> None:
    rows = []
    for n, right in enumerate("ABCA"):
        marked = n % 2 == 0
        rows.append(
            {
                "idx": str(n),
                "task": "Counting" if n < 2 else "Ordering",
                "image_relation": "Multiview",
                "image_type": "Photography",
                "question": "<image> and <image>: which is older?" if marked else "Which is <image>?",
                "options": ["the first", "the second", "None of the choices"] if marked else ["<image>", "<image>"],
                "answer": right,
                "image_list": [cell(n + k, 60, 40) for k in range(2 if marked else 3)],
                "counterpart_idx": str(n),
            }
        )
    parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
