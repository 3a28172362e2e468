"""RealWorldQA as its parquet release has it: questions that end with how to answer."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

LETTER = "Please answer directly with only the letter of the correct option and nothing else."
WORD = "Please answer directly with a single word or number."
# Right answers: A, C, 3, Downhill.
ALWAYS = {"": 0.0, "A": 25.0, "The answer is C.": 25.0, "3": 25.0, "downhill.": 25.0, "yes": 0.0}


def write(folder: Path) -> None:
    options = "\n\nA. Left.\nB. Right.\nC. Ahead.\n"
    rows = [
        (f"Where do we go?{options}{LETTER}", "A"),
        (f"Which way is free?{options}{LETTER}", "C"),
        (f"How many cars are there? {WORD}", "3"),
        (f"Is the road uphill or downhill? {WORD}", "Downhill"),
    ]
    parquet(
        folder / "data" / "test-00000-of-00002.parquet",
        [
            {"image": cell(n, 90, 50), "image_path": f"{n}.webp", "question": asked, "answer": answer}
            for n, (asked, answer) in enumerate(rows)
        ],
    )
