"""VCGBench as its parquet release has it: two generic questions, a temporal one and a pair."""

from __future__ import annotations

from pathlib import Path

from official._clips import film
from official_fixture import parquet

ALWAYS: dict[str, float] = {}
"""A judge gives the scores."""


def write(folder: Path) -> None:
    def row(n: int) -> dict[str, object]:
        return {"video_name": f"v_{n}", "question": f"What happens in {n}?", "answer": "A man paints a wall."}

    parquet(folder / "Generic" / "test-00000-of-00001.parquet", [row(0), row(1)])
    parquet(folder / "Temporal" / "test-00000-of-00001.parquet", [row(0)])
    pair = {"video_name": "v_1", "answer": "Blue."}
    parquet(
        folder / "Consistency" / "test-00000-of-00001.parquet",
        [
            {**pair, "question_1": "What colour is the wall?", "question_2": "None"},
            {**pair, "question_1": "None", "question_2": "Which colour has the wall?"},
        ],
    )
    for n in (0, 1):
        film(folder / "Test_Videos" / f"v_{n}.mp4")
