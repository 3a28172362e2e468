"""mm15: the open system that the MM1.5 paper (arXiv 2409.20566) describes.

>>> import mm15
>>> chat = mm15.load("runs/quickstart/bundle")
>>> print(chat.ask("Where is the dog?", images=["photo.png"]).text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mm15.generate.chat import Chat

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: str | Path, device: str = "cpu") -> Chat:
    """Open a bundle and return something to talk to.

    Args:
        folder: a bundle folder (or a run folder with ``bundle/`` inside).
        device: a torch device.

    Raises:
        BundleError: the folder is not a valid bundle; every problem is listed.
    """
    from mm15.bundle import load_bundle  # heavy: torch is imported only when a model is wanted
    from mm15.generate.chat import Chat

    return Chat(load_bundle(folder, device=device))
