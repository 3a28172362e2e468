"""Pickled weights → safetensors, in a child process that unpickles nothing but tensors.

A pickle can run code. ``torch.load(weights_only=True)`` allows a short list of types; should that list ever have a
hole, the child has nothing of ours in its memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mm15.base.errors import BundleError
from mm15.interop.files import PICKLES, refusal

STATE_KEYS = ("state_dict", "model", "model_state_dict")
"""Where training scripts put the tensors of a larger file."""


def convert_weights(place: str | Path) -> list[Path]:
    """Write ``*.safetensors`` beside every pickle of a folder (or beside one file), and the index of shards anew.

    Raises:
        BundleError: there is no pickle, or the child refused one; nothing is then left behind for it.
    """
    place = Path(place)
    found = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
    pickles = [path for path in found if path.suffix.lower() in PICKLES]
    if not pickles:
        raise BundleError(refusal(place, [f"no file that ends in {', '.join(PICKLES)}"]))
    written = []
    for path in pickles:
        target = path.with_name(_renamed(path.name))
        run = subprocess.run(
            [sys.executable, "-m", "mm15.interop.unpickle", str(path), str(target)], capture_output=True, text=True
        )
        if run.returncode:
            lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
            raise BundleError(refusal(place, [f"{path.name}: not converted ({lines[-1]})"]))
        written.append(target)
    for index in place.glob("*.index.json") if place.is_dir() else ():
        content = json.loads(index.read_text(encoding="utf-8"))
        named = {name: _renamed(file) for name, file in content.get("weight_map", {}).items()}
        if any(index.name.endswith(f"{ending}.index.json") for ending in PICKLES):
            text = json.dumps(content | {"weight_map": named}, indent=1)
            index.with_name("model.safetensors.index.json").write_text(text, encoding="utf-8")
    return written


def _renamed(name: str) -> str:
    """``pytorch_model-00001-of-00002.bin`` → ``model-00001-of-00002.safetensors``, as the hub calls them."""
    return f"{Path(name).stem.replace('pytorch_model', 'model')}.safetensors"


def _convert(source: str, target: str) -> None:
    """The child's work."""
    content = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    for key in STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise SystemExit(f"expected a mapping of tensors, found {type(content).__name__}")
    others = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise SystemExit(f"not a tensor: {', '.join(map(str, others[:5]))}")
    # Cloned, because tied tensors share memory, which safetensors refuses.
    save_file({name: value.contiguous().clone() for name, value in content.items()}, target, {"format": "pt"})


if __name__ == "__main__":
    _convert(*sys.argv[1:])
