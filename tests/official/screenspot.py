"""ScreenSpot as its parquet release has it: boxes x1, y1, x2, y2 from 0 to 1."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

ALWAYS = {"": 0.0, "[300, 400]": 50.0, "click [0, 0, 600, 800]": 50.0, "[800, 900]": 25.0, "[999, 0]": 0.0}
"""The middle of the second answer is the first."""
ROWS = [
    ("open the menu", "icon", "ios", [0.1, 0.2, 0.5, 0.6]),
    ("sign in", "text", "android", [0.2, 0.3, 0.4, 0.5]),
    ("close this window", "icon", "macos", [0.7, 0.8, 1.0, 1.0]),
    ("view my cart", "text", "shop", [0.0, 0.0, 0.2, 0.1]),
]


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00001.parquet",
        [
            {"file_name": f"{source}_{n}.png", "bbox": box, "instruction": said, "data_type": kind,
             "data_source": source, "image": cell(n, 90, 60)}
            for n, (said, kind, source, box) in enumerate(ROWS)
        ],
    )  # fmt: skip
