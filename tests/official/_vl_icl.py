"""VL-ICL Bench as its authors' folders have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from official._clips import save_json
from official_fixture import save_picture


def plain(folder: Path, task: str, question: str, answers: Sequence[str]) -> None:
    """Queries with these answers and nine demonstrations, one picture each."""
    for kind, count in (("query", len(answers)), ("support", 9)):
        for n in range(count):
            save_picture(folder / kind / f"{n}.png", n, 40 + n, 24)

    def row(kind: str, n: int, answer: str) -> dict[str, object]:
        return {"id": n, "image": [f"{task}/{kind}/{n}.png"], "question": question, "answer": answer}

    save_json(folder / "query.json", [row("query", n, answer) for n, answer in enumerate(answers)])
    save_json(folder / "support.json", [row("support", n, str(n)) for n in range(9)])


def operators(folder: Path, task: str, pictures: int) -> None:
    """4 + 2, 4 - 2, 4 x 2 and 8 + 1; demonstrations have the answers of all three operators."""
    numbers = [(4, 2, "+", 6), (4, 2, "-", 2), (4, 2, "x", 8), (8, 1, "+", 9)]
    for n in range(10):
        for k in range(pictures):
            save_picture(folder / "pictures" / f"{n}_{k}.png", n, 40 + k, 24)

    def images(n: int) -> list[str]:
        return [f"{task}/pictures/{n}_{k}.png" for k in range(pictures)]

    asked = "What is the result of the following mathematical expression?"
    save_json(
        folder / "query.json",
        [
            {"id": n, "image": images(n), "question": asked, "operator": operator, "answer": answer}
            for n, (_, _, operator, answer) in enumerate(numbers)
        ],
    )
    save_json(
        folder / "support.json",
        [{"id": n, "image": images(n), "question": asked, "answer": [n + 1, n - 1, n]} for n in range(1, 10)],
    )
