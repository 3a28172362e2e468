"""InfographicVQA as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "142": 100 * (1 + 2 / 3) / 4, "blue": 25.0, "yes": 0.0}  # 142 and 143 share two of three characters


def write(folder: Path) -> None:
    right = [["142"], ["143"], ["blue"], ["Brazil, Norway"]]
    parquet(
        folder / "InfographicVQA" / "validation-00000-of-00001.parquet",
        [
            {
                "questionId": str(98300 + n),
                "question": f"How many are in group {n}?",
                "answers": answers,
                "answer_type": ["single span"],
                "image": cell(n, 36, 90),
                "image_url": f"https://example.org/{n}.jpeg",
                "operation/reasoning": [],
                "ocr": "{}",
                "data_split": "val",
            }
            for n, answers in enumerate(right)
        ],
    )
