"""WikiTableQuestions as DocDownstream-1.0 has it."""

from __future__ import annotations

from pathlib import Path

from official._shared import docowl

ALWAYS = {"": 0.0, "2004": 25.0, "b||a": 25.0, "A": 0.0}


def write(folder: Path) -> None:
    rows = [("what year?", "2004"), ("which country won?", "Italy (ITA)"), ("which two?", "a|b"), ("how many?", "5")]
    docowl(folder, "WikiTableQuestions_test.jsonl", rows)
