"""Q-Bench2 as its parquet release has it: right options B, A, C, A of 2, 3, 4 and 2."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "A": 50.0, "(B) no": 25.0, "D": 0.0, "yes": 0.0}


def write(folder: Path) -> None:
    options = [["Yes", "No"], ["Higher", "Lower", "Equal"], ["Blur", "Noise", "Glare", "None"], ["Yes", "No"]]
    rows = []
    for n, (texts, right) in enumerate(zip(options, "BACA", strict=True)):
        rows.append(
            {
                "id": n,
                "image1": cell(n, 60, 40),
                "image2": cell(n + 10, 40, 60),
                "question": "Is the first image clearer than the second?",
                **{f"option{k}": texts[k] if k < len(texts) else "N/A" for k in range(4)},
                "question_type": n % 3,
                "question_concern": n,
                "correct_choice": right,
            }
        )
    parquet(folder / "data" / "dev-00000-of-00001.parquet", rows)
