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


def load(folder: str | Path, device: str = "cpu", quantise: str | None = None) -> Chat:
    """Open a bundle and return something to talk to.

    Args:
        folder: a bundle folder (or a run folder with ``bundle/`` inside).
        device: a torch device.
        quantise: "int8" keeps the decoder's matrices as int8 and computes in bf16: for answers on a CPU only.

    Raises:
        BundleError: the folder is not a valid bundle; every problem is listed.
        ValueError: an unknown way to quantise, or one that the device does not have.
    """
    from mm15.bundle import load_bundle  # heavy: torch is imported only when a model is wanted
    from mm15.generate.chat import Chat
    from mm15.model import quantise as quantising

    bundle = load_bundle(folder, device=device)
    if quantise is not None:
        quantising.quantise(bundle.model, quantise)
    return Chat(bundle)
