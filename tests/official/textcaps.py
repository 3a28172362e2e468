"""TextCaps as its parquet release has it."""

from __future__ import annotations

from pathlib import Path

from official._shared import DEMONSTRATIONS, captions
from official_fixture import cell, parquet

ALWAYS = {"": 0.0, captions(3)[0]: 125.0, "A": 0.0}
PERFECT = 500.0


def write(folder: Path) -> None:
    for split, numbers in (("train", range(4, 4 + DEMONSTRATIONS)), ("val", range(4))):
        parquet(
            folder / "data" / f"{split}-00000-of-00001.parquet",
            [
                {
                    "image": cell(n, 44, 60),
                    "question_id": str(n),
                    "question": "Provide a one-sentence caption for the provided image.",
                    "image_id": f"id{n}",
                    "caption_str": captions(n),
                }
                for n in numbers
            ],
        )
