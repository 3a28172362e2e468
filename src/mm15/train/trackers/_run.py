"""A run of W&B, and of what looks like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RunTracker:
    """A ``Tracker`` over a run that takes a mapping of numbers and a step."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
