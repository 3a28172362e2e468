"""TabFact as DocDownstream-1.0 has it."""

from __future__ import annotations

from pathlib import Path

from official._shared import docowl

ALWAYS = {"": 0.0, "True": 75.0, "False": 25.0, "true, false": 0.0, "yes": 0.0}


def write(folder: Path) -> None:
    rows = [(f"the team won {n} games", answer) for n, answer in enumerate(["True", "False", "True", "True"])]
    docowl(folder, "TabFact_test.jsonl", rows)
