"""NExT-QA as its parquet release has it: D, A, C, A."""

from __future__ import annotations

from pathlib import Path

from official._clips import film
from official_fixture import parquet

ALWAYS = {"": 0.0, "A": 50.0, "D. dad": 25.0, "B": 0.0}


def write(folder: Path) -> None:
    parquet(folder / "MC" / "test-00000-of-00001.parquet", rows("video"))
    for clip in (4010069381, 4010069382):
        film(folder / "NExTVideo" / f"{clip}.mp4")


def rows(clip: str) -> list[dict[str, object]]:
    return [
        {
            clip: 4010069381 + n // 2,
            "frame_count": 300,
            "width": 640,
            "height": 360,
            "question": "why does the baby smile",
            "answer": right,
            "qid": n % 2,
            "type": kind,
            **{f"a{k}": name for k, name in enumerate(["toy", "dog", "food", "dad", "song"])},
        }
        for n, (right, kind) in enumerate([(3, "CW"), (0, "TN"), (2, "CW"), (0, "DO")])
    ]
