"""IntentQA as its authors' table has it: D, A, C, A."""

from __future__ import annotations

from pathlib import Path

from official._clips import film, save_csv
from official.nextqa import rows

ALWAYS = {"": 0.0, "A": 50.0, "(C)": 25.0, "E": 0.0}


def write(folder: Path) -> None:
    extra = {"action": "smile", "lemma": "smile", "lemma_id": 7}
    save_csv(folder / "test.csv", [row | extra for row in rows("video_id")])
    for clip in (4010069381, 4010069382):
        film(folder / "Videos" / f"{clip}.mp4")
