"""TensorBoard: event files in RUN/tensorboard (the extra tensorboard; ``tensorboard --logdir RUN``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm15.base.errors import MissingExtra


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step=step)

    def close(self) -> None:
        self._writer.close()


def open_tracker(folder: Path, name: str, config: Mapping[str, Any]) -> _TensorBoard:
    """Event files beside the log; a resumed run adds another file.

    Raises:
        MissingExtra: tensorboard is not installed.
    """
    try:
        from tensorboard.summary import Writer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("tensorboard", "tensorboard", "train.trackers: tensorboard") from None
    return _TensorBoard(Writer(str(folder / "tensorboard")))
