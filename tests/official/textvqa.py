"""TextVQA as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "nokia": 55.0, "A": 0.0, "12": 25.0}  # nokia: (1 + 0.9 + 0 + 0.3) / 4
RIGHT = [["nokia"] * 10, ["nokia"] * 3 + ["sony"] * 7, ["12"] * 10, ["nokia"] + ["acer"] * 9]


def write(folder: Path, split: str = "validation", right: list[list[str]] = RIGHT) -> None:
    parquet(
        folder / "data" / f"{split}-00000-of-00001.parquet",
        [
            {
                "image_id": f"{split}{n // 2}",
                "question_id": 34000 + n,
                "question": f"what is Brand {n}?",
                "image": cell(n // 2, 52, 36),
                "image_width": 52,
                "image_height": 36,
                "answers": answers,
                "ocr_tokens": ["NOKIA"],
            }
            for n, answers in enumerate(right)
        ],
    )
