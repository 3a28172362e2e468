"""EgoSchema's subset as its parquet release has it: B, E, A, A."""

from __future__ import annotations

from pathlib import Path

from official._clips import film
from official_fixture import parquet

ALWAYS = {"": 0.0, "A": 50.0, "(E) C runs.": 25.0, "D": 0.0}


def write(folder: Path) -> None:
    did = ["reads", "sleeps", "walks", "sings", "runs"]
    parquet(
        folder / "Subset" / "test-00000-of-00001.parquet",
        [
            {
                "question_idx": str(n),
                "question": "What does C mostly do?",
                "video_idx": f"clip-{n}",
                "option": [f"{letter}. C {verb}." for letter, verb in zip("ABCDE", did, strict=True)],
                "answer": str(right),
            }
            for n, right in enumerate([1, 4, 0, 0])
        ],
    )
    for n in range(4):
        film(folder / "videos" / f"clip-{n}.mp4")
