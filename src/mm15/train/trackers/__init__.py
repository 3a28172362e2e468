"""Other programs that are told how a run goes: one file per program, named in ``train.trackers``.

A file has ``open_tracker(folder, name, config)``, which gives a ``Tracker`` or raises ``MissingExtra``. Nothing here
uses the network by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mm15.base.catalogue import lookup


class Tracker(Protocol):
    """Something that is told numbers."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step, by name."""
        ...

    def close(self) -> None:
        """The run ended or was stopped."""
        ...


def open_trackers(names: list[str], folder: Path, run: str, config: Mapping[str, Any]) -> list[Tracker]:
    """The trackers of these names.

    Args:
        folder: the run folder.
        run: what the run is called.
        config: JSON values that describe it.

    Raises:
        MissingExtra: a package is not installed.
    """
    return [lookup(__name__, name, "tracker").open_tracker(folder, run, config) for name in names]


def scalars(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a line of the log, nested ones with a slash: ``{"sources": {"a": 1}}`` gives ``sources/a``."""
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            found[prefix + name] = float(value)
    return found
