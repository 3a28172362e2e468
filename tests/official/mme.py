"""MME as its parquet release has it: one picture with its two questions in each of the 14 sub-tasks."""

from __future__ import annotations

from pathlib import Path

from mm15.evals.scoring import MME_COGNITION, MME_PERCEPTION
from official_fixture import cell, parquet

# Always yes: half the answers of each sub-task, no picture with both: 14 x 50 / 28.
ALWAYS = {"": 0.0, "Yes": 25.0, "no.": 25.0, "perhaps": 0.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00004.parquet",
        [
            {
                "question_id": f"{task}/{n}.png",
                "image": cell(n, 40 + n, 60),
                "question": f"Is it {answer} here? Please answer yes or no.",
                "answer": answer,
                "category": task,
            }
            for n, task in enumerate((*MME_PERCEPTION, *MME_COGNITION))
            for answer in ("Yes", "No")
        ],
    )
