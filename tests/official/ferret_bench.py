"""Ferret-Bench as Ferret's repository has it: three folders of two questions each, and the judge's rules."""

from __future__ import annotations

import json
from pathlib import Path

from official_fixture import save_picture

ALWAYS: dict[str, float] = {}
"""Needs a judge."""
FOLDERS = {"refer_caption": "refer_desc", "refer_reason": "refer_reason", "ground_conv": "ground_conv"}


def write(folder: Path) -> None:
    for place, (name, category) in enumerate(FOLDERS.items()):
        box = "" if category == "ground_conv" else f" [0.1{place}0, 0.200, 0.500, 0.600]"
        texts = {
            "question": [f"What is the object{box} and why?", "Who is there?"],
            "context": ["Objects:\nObject 0 : dog at [0.100, 0.200, 0.500, 0.600].", "Objects: none"],
            "answer": ["A dog [0.100, 0.200, 0.500, 0.600] runs.", "Nobody."],
        }
        for file, told in texts.items():
            rows = [
                {"question_id": n, "image": f"{place}{n}.jpg", "category": category, "text": text}
                for n, text in enumerate(told)
            ]
            path = folder / name / f"{file}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for n in (0, 1):
            save_picture(folder / "val2017" / f"{place}{n}.jpg", place, 100, 60)
    rules = {category: {"role": "Assistant", "prompt": f"Rate {category}."} for category in FOLDERS.values()}
    (folder / "rule.json").write_text(json.dumps(rules), encoding="utf-8")
