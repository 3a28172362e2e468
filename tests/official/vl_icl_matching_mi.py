"""Four queries: yes, no, yes, yes."""

from __future__ import annotations

from pathlib import Path

from official._clips import save_json
from official_fixture import save_picture

ALWAYS = {"": 0.0, "yes": 75.0, "No": 25.0, "maybe": 25.0}
"""An answer without "yes" is no, as the authors read it."""


def write(folder: Path) -> None:
    for n in range(4):
        save_picture(folder / "pictures" / f"{n}.png", n, 40 + n, 24)

    def pair(a: int, b: int, answer: str) -> dict[str, object]:
        return {
            "image": [f"matching_mi/pictures/{a}.png", f"matching_mi/pictures/{b}.png"],
            "question": "Do the two images satisfy the induced relationship?",
            "answer": answer,
        }

    rows = [{"id": n, **pair(n, 3 - n, answer)} for n, answer in enumerate(["yes", "no", "yes", "yes"])]
    save_json(folder / "query.json", rows)
    save_json(
        folder / "support.json",
        [{"id": n, "same": pair(n % 4, n % 4, "Yes"), "diff": pair(n % 4, (n + 1) % 4, "No")} for n in range(9)],
    )
