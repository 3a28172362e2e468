"""Video-MME as its parquet release has it: C, A, A, D."""

from __future__ import annotations

from pathlib import Path

from official._clips import film
from official_fixture import parquet

ALWAYS = {"": 0.0, "A": 50.0, "The answer is D.": 25.0, "E": 0.0}


def write(folder: Path) -> None:
    rows = []
    for n, right in enumerate("CAAD"):
        rows.append(
            {
                "video_id": f"{n // 2:03d}",
                "duration": "short" if n < 2 else "long",
                "domain": "Knowledge",
                "sub_category": "Geography",
                "url": "",
                "videoID": f"clip{n // 2}",
                "question_id": f"{n:03d}-1",
                "task_type": "Counting Problem",
                "question": "How many boats pass?",
                "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
                "answer": right,
            }
        )
    parquet(folder / "videomme" / "test-00000-of-00001.parquet", rows)
    for n in (0, 1):
        film(folder / "data" / f"clip{n}.mp4")
