"""Four queries of the classes dax (three times) and perpo."""

from __future__ import annotations

from pathlib import Path

from official._clips import save_json
from official_fixture import save_picture

ALWAYS = {"": 0.0, "dax": 75.0, "Perpo": 25.0, "blicket": 0.0}


def write(folder: Path) -> None:
    names = ["dax", "perpo", "blicket"]
    for name in names:
        for k in range(5):
            save_picture(folder / "support" / f"{name}_{k}.jpg", k, 40 + k, 24)
    support = {name: {"images": [f"open_mi/support/{name}_{k}.jpg" for k in range(5)]} for name in names}
    rows = []
    for n, right in enumerate(["dax", "dax", "perpo", "dax"]):
        save_picture(folder / "query" / f"{n}.jpg", n, 40, 24)
        rows.append(
            {
                "id": n,
                "image": [f"open_mi/query/{n}.jpg"],
                "question": "This is a",
                "answer": right,
                "classes": names,
                "support": support,
            }
        )
    save_json(folder / "query.json", rows)
    save_json(folder / "support.json", [])
