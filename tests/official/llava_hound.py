"""LLaVA-Hound's questions as its authors have them, of two sets."""

from __future__ import annotations

from pathlib import Path

from official._clips import frames, save_lines

ALWAYS: dict[str, float] = {}
"""A judge gives the scores."""


def write(folder: Path) -> None:
    for name, count in (("actnet", 3), ("msvd", 1)):
        save_lines(
            folder / f"{name}.qa.jsonl",
            [
                {
                    "id": f"{n}_0",
                    "video": f"{name}/clip{n}",
                    "caption": "A cyclist in white rides up a hill.",
                    "conversations": [
                        {"from": "human", "value": "<video>\nWhat does the cyclist wear?"},
                        {"from": "gpt", "value": "A white shirt."},
                    ],
                }
                for n in range(count)
            ],
        )
        for n in range(count):
            frames(folder / name / f"clip{n}")
    save_lines(folder / "msvd.qa.official.jsonl", [{"id": "another shape"}])
