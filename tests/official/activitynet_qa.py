"""ActivityNet-QA as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official._clips import film
from official_fixture import parquet

ALWAYS: dict[str, float] = {}
"""A judge gives the scores."""


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {
                "video_name": f"abc{n // 2}",
                "question_id": f"v_abc{n // 2}_{n}",
                "question": "what colour is the ball",
                "answer": "red",
                "type": str(3 + n % 2),
            }
            for n in range(4)
        ],
    )
    for n in (0, 1):
        film(folder / "all_test" / f"v_abc{n}.mp4")
