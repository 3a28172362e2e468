"""POPE as its parquet release has it: two pictures, in every split one question that is true and one that is not."""

from __future__ import annotations

from pathlib import Path

from official_fixture import cell, parquet

# Half of the questions are true. What is no "no" is a yes in the authors' reading, but silence is neither.
ALWAYS = {"": 0.0, "Yes": 50.0, "No": 50.0, "a dog": 50.0}


def write(folder: Path) -> None:
    parquet(
        folder / "data" / "test-00000-of-00003.parquet",
        [
            {
                "id": str(2 * n + (answer == "no")),
                "question_id": str(n),
                "question": f"Is there a thing {n} in the image?",
                "answer": answer,
                "image_source": f"COCO_val2014_{picture:012}",
                "image": cell(picture, 64, 48),
                "category": split,
            }
            for n, split in enumerate(("adversarial", "popular", "random"))
            for picture in (1, 2)
            for answer in ("yes", "no")
        ],
    )
