"""LVIS-Ref as Ferret's JSON lines have it."""

from __future__ import annotations

import json
from pathlib import Path

from official_fixture import save_picture

ALWAYS = {
    "": 0.0,
    "a cat": 50.0,
    "It is a cat or a dog.": 75.0,
    "something for tea": 25.0,
    "It is not a cat, but a dog.": 25.0,
}
"""The names are cat, dog, cat and teapot; the last is also called tea_pot and pot_(for_tea)."""
NAMES = [
    ("cat", [], "dog"),
    ("dog", ["domestic_dog"], "cat"),
    ("cat", [], "stop_sign"),
    ("teapot", ["tea_pot", "pot_(for_tea)"], "cup"),
]


def write(folder: Path) -> None:
    rows = []
    for n, (name, synonyms, other) in enumerate(NAMES):
        save_picture(folder / "val2017" / f"{n // 2:012}.jpg", n // 2, 80, 40)
        rows.append(
            {
                "id": n,
                "image_path": f"coco/val2017/{n // 2:012}.jpg",
                "width": 80,
                "height": 40,
                "bbox": [8, 8, 32, 16],
                "bbox_norm": [0.1, 0.2, 0.5, 0.6],
                "sample_point": [20 + n, 10],
                "name": name,
                "synonyms": synonyms,
                "neg_class": other,
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "lvis_eval.jsonl").write_text(lines, encoding="utf-8")
