"""Golden files: what was right once is compared with what is made now, and rewritten by one command."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
UPDATE = os.environ.get("MM15_UPDATE_GOLDEN") == "1"
COMMAND = "MM15_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden"
HINT = f"If the change is meant, write the golden files again, look at the difference, and commit both:\n  {COMMAND}"


def golden_text(path: Path, made: str) -> str:
    """The text of a golden file; with MM15_UPDATE_GOLDEN=1 it becomes what was made."""
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8")
    return path.read_text(encoding="utf-8") if path.exists() else ""
