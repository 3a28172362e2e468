"""MVBench as its authors have it: three questions of one task (A, B, B) and one of another (A)."""

from __future__ import annotations

from pathlib import Path

from official._clips import film, frames, save_json

ALWAYS = {"": 0.0, "(A)": 200 / 3, "B": 100 / 3, "the door": 0.0}


def write(folder: Path) -> None:
    options = ["The window.", "The door."]
    asked = "Which was opened?"

    def row(n: int, right: int, **bounds: float) -> dict[str, object]:
        return {"video": f"{n}", "question": asked, "candidates": options, "answer": options[right], **bounds}

    save_json(
        folder / "json" / "action_sequence.json", [row(n, r, start=1.5, end=4) for n, r in ((0, 0), (1, 1), (1, 1))]
    )
    save_json(folder / "json" / "state_change.json", [row(2, 0)])
    for n in (0, 1):
        film(folder / "video" / "star" / "Charades_v1_480" / f"{n}.mp4", 40)
    frames(folder / "video" / "perception" / "videos" / "2")
