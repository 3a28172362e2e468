"""NoCaps as its parquet release has it; demonstrations are COCO's."""

from __future__ import annotations

from pathlib import Path

from official import coco_caption
from official._shared import captions
from official_fixture import cell, parquet

ALWAYS = {"": 0.0, captions(1)[0]: 125.0, "A": 0.0}
PERFECT = 500.0


def write(folder: Path) -> None:
    coco_caption.write(folder.parent / "coco-caption")
    parquet(
        folder / "data" / "validation-00000-of-00001.parquet",
        [
            {
                "image": cell(n, 60, 44),
                "image_coco_url": f"https://example.org/{n}.jpg",
                "image_file_name": f"{n}.jpg",
                "image_id": n,
                "annotations_ids": [n],
                "annotations_captions": captions(n),
            }
            for n in range(4)
        ],
    )
