"""trackio, a local W&B look-alike (the extra trackio; ``trackio show --project mm15``). Stays on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm15.base.errors import MissingExtra
from mm15.train.trackers._run import RunTracker


def open_tracker(folder: Path, name: str, config: Mapping[str, Any]) -> RunTracker:
    """A run of project mm15 in trackio's own folder (TRACKIO_DIR). A resumed run continues under its name.

    Raises:
        MissingExtra: trackio is not installed.
    """
    try:
        import trackio  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("trackio", "trackio", "train.trackers: trackio") from None
    project = os.environ.get("TRACKIO_PROJECT", "mm15")
    unique = f"{name} {folder.resolve()}"
    start = trackio.init  # pyright: ignore[reportAttributeAccessIssue]
    return RunTracker(start(project=project, name=unique, config=dict(config), resume="allow", embed=False))
