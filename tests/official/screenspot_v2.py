"""ScreenSpot-v2 as OS-Copilot hands it out: boxes x, y, width, height in pixels."""

from __future__ import annotations

import json
from pathlib import Path

from official_fixture import save_picture

ALWAYS = {"": 0.0, "[300, 400]": 50.0, "[0, 0, 600, 800]": 50.0, "[800, 900]": 25.0}
ROWS = {
    "mobile": [("open the menu", "icon", "ios", [9, 12, 36, 24]), ("sign in", "text", "android", [18, 18, 18, 12])],
    "desktop": [("close this window", "icon", "windows", [63, 48, 27, 12])],
    "web": [("view my cart", "text", "shop", [0, 0, 18, 6])],
}
"""On 90 x 60 pixels."""


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, rows in ROWS.items():
        listed = []
        for number, (said, type_, source, box) in enumerate(rows):
            file = f"{kind}_{number}.png"
            save_picture(folder / "screenspotv2_image" / file, number, 90, 60)
            listed.append(
                {"img_filename": file, "bbox": box, "instruction": said, "data_type": type_, "data_source": source}
            )
        (folder / f"screenspot_{kind}_v2.json").write_text(json.dumps(listed), encoding="utf-8")
