"""RefCOCO, RefCOCO+ and RefCOCOg as their parquet releases have them: a row is an object with its expressions."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

LEFT, RIGHT = [10, 5, 40, 30], [60, 10, 30, 30]
"""x, y, width, height on 100 x 50 pixels: [100, 100, 500, 700] and [600, 200, 900, 800] on the scale of answers."""


def write_split(folder: Path, split: str, objects: list[tuple[list[int], list[str]]]) -> None:
    """Objects of one picture each, as (box, expressions)."""
    parquet(
        folder / "data" / f"{split}-00000-of-00001.parquet",
        [
            {
                "question_id": str(n),
                "image": cell(n, 100, 50),
                "question": "Please carefully observe the area circled in the image and come up with a caption.",
                "answer": said,
                "segmentation": [[float(x) for x in box]],
                "bbox": [float(x) for x in box],
                "iscrowd": 0,
                "file_name": f"COCO_train2014_{n:012}_{n}.jpg",
            }
            for n, (box, said) in enumerate(objects)
        ],
    )
