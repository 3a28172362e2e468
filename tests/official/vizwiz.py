"""VizWiz-VQA: questions as the parquet release has them, the training split as the authors hand it out."""

from __future__ import annotations

from pathlib import Path

from official._shared import ANSWERS, DEMONSTRATIONS, json_file
from official_fixture import cell, parquet, save_picture

ALWAYS = {"": 0.0, "yes": 40.0, "unanswerable": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "val-00000-of-00001.parquet",
        [
            {
                "question_id": f"VizWiz_val_{n:08d}",
                "image": cell(n, 40, 60),
                "question": "what is this?",
                "answers": right,
                "category": "other",
            }
            for n, right in enumerate(ANSWERS)
        ],
    )
    rows = []
    for n in range(DEMONSTRATIONS):
        name = f"VizWiz_train_{n:08d}.jpg"
        save_picture(folder / "train" / name, n, 40, 60)
        listed = [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10
        rows.append({"image": name, "question": "what is this?", "answers": listed, "answerable": 0})
    json_file(folder / "train.json", rows)
