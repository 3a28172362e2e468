"""Weights & Biases (the extra wandb). Offline unless WANDB_MODE says otherwise; ``wandb sync`` uploads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm15.base.errors import MissingExtra
from mm15.train.trackers._run import RunTracker


def open_tracker(folder: Path, name: str, config: Mapping[str, Any]) -> RunTracker:
    """A run of project mm15. The same run folder keeps its identity, so that a resumed run continues its curves.

    Raises:
        MissingExtra: wandb is not installed.
    """
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("wandb", "wandb", "train.trackers: wandb") from None
    identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    mode = os.environ.get("WANDB_MODE", "offline")
    kept = {"dir": str(folder), "id": identity, "resume": "allow", "mode": mode}
    project = os.environ.get("WANDB_PROJECT", "mm15")
    start = wandb.init  # pyright: ignore[reportAttributeAccessIssue]
    return RunTracker(start(project=project, name=name, config=dict(config), **kept))
