"""VQAv2: questions as the parquet release has them, the training split as the authors hand it out."""

from __future__ import annotations

from pathlib import Path

from official._shared import ANSWERS, DEMONSTRATIONS, toolkit
from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "yes": 40.0, "2\nQuestion: what?": 25.0, "A": 0.0}  # yes: (1 + 0.6 + 0 + 0) / 4


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "validation-00000-of-00001.parquet",
        [
            {
                "question_type": "what",
                "multiple_choice_answer": right[-1],
                "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": k} for k, a in enumerate(right, 1)],
                "image_id": 7 + n // 2,
                "answer_type": "other",
                "question_id": 7000 + n,
                "question": f"What is number {n}?",
                "image": cell(n // 2, 60, 40),
            }
            for n, right in enumerate(ANSWERS)
        ],
    )
    toolkit(folder, "v2_", "train2014", [["yes"] * 10] * DEMONSTRATIONS)
