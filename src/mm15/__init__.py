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


def load(folder: str | Path, device: str = "cpu", quantise: str | None = None, dtype: str | None = None) -> Chat:
    """Open a bundle and return something to talk to.

    Args:
        folder: a bundle folder (or a run folder with ``bundle/`` inside).
        device: a torch device.
        quantise: "int8" keeps the decoder's matrices as int8 and computes in bf16: for answers on a CPU only.
        dtype: "bf16" rounds weights and activations (and packs the decoder's matrices on a CPU): faster, and answers
            may differ. "fp32" widens a bundle that is kept in bf16 once instead of at each step. None: fp32
            activations, weights as they are kept.

    Raises:
        BundleError: the folder is not a valid bundle; every problem is listed.
        ConfigError: an unknown dtype or way to quantise, or one that the device or the model does not have.
    """
    from mm15.bundle import load_bundle  # heavy: torch is imported only when a model is wanted
    from mm15.generate.chat import Chat
    from mm15.model.quantise import prepare

    bundle = load_bundle(folder, device=device)
    prepare(bundle.model, dtype, quantise)
    return Chat(bundle)
