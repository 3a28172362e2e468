"""DocVQA as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "42": 37.5, "annual report": 25.0, "yes": 0.0}  # 42: (1 + 0.5 + 0 + 0) / 4


def write(folder: Path) -> None:
    right = [["42"], ["43", "44"], ["Annual  Report"], ["1/8/93", "January 8, 1993"]]
    parquet(
        folder / "DocVQA" / "validation-00000-of-00001.parquet",
        [
            {
                "questionId": str(49150 + n),
                "question": f"What is written in line {n}?",
                "question_types": ["handwritten"],
                "image": cell(n // 2, 40, 56),
                "docId": 14465 + n // 2,
                "ucsf_document_id": "pybv0228",
                "answers": answers,
                "data_split": "val",
            }
            for n, answers in enumerate(right)
        ],
    )
