"""What several official fixtures are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from official_fixture import save_picture

DEMONSTRATIONS = 18
ANSWERS = [["yes"] * 10, ["yes"] * 2 + ["no"] * 8, ["2"] * 10, ["red"] * 10]
"""Of ten people each; "yes" gets 1, 0.6, 0 and 0."""


def captions(number: int) -> list[str]:
    """Two captions of five words that no other picture shares, so that each is worth 5 of CIDEr's 10."""
    return [" ".join(f"word{number}{kind}{place}" for place in "abcde") for kind in "xy"]


def json_file(path: Path, value: Any) -> None:
    """A JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def docowl(folder: Path, file: str, rows: Sequence[tuple[str, str]]) -> None:
    """Questions and answers as DocDownstream-1.0 has them."""
    lines = []
    for n, (asked, right) in enumerate(rows):
        name = f"imgs/DUE_Benchmark/{n}.png"
        save_picture(folder / name, n, 70, 30 + n)
        said = [{"role": "user", "content": f"<|image|>{asked}"}, {"role": "assistant", "content": right}]
        lines.append({"image": [f"./{name}"], "messages": said, "task_name": "qa_sft", "dataset_name": file[:-11]})
    jsonl(folder / "test" / file, lines)


def toolkit(folder: Path, prefix: str, split: str, answers: Sequence[Sequence[str]]) -> None:
    """Questions and answers as the VQA toolkit has them; every two questions share a picture."""
    questions, annotations = [], []
    for n, right in enumerate(answers):
        picture = 10 + n // 2
        save_picture(folder / split / f"COCO_{split}_{picture:012d}.jpg", picture, 50, 30)
        questions.append({"image_id": picture, "question": f"What is number {n}?", "question_id": 100 * picture + n})
        listed = [{"answer": answer, "answer_confidence": "yes", "answer_id": k} for k, answer in enumerate(right, 1)]
        annotations.append({"question_id": 100 * picture + n, "image_id": picture, "answers": listed})
    info = {"info": {"version": "2.0"}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}}
    json_file(folder / f"{prefix}OpenEnded_mscoco_{split}_questions.json", {**info, "questions": questions})
    json_file(folder / f"{prefix}mscoco_{split}_annotations.json", {**info, "annotations": annotations})
