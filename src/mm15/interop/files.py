"""Weights in safetensors files, one or sharded with an index: read by name, written again. Pickles are refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mm15.base.errors import BundleError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FLOATS = {"F64", "F32", "F16", "BF16"}
SHARD_BYTES = 5_000_000_000
"""Largest shard, as transformers has it; a tensor that is larger has one of its own."""

PT: Mapping[str, str] = MappingProxyType({"format": "pt"})
"""What transformers wants to be told in each file."""


class SavedTensors:
    """The tensors of a folder (or of one file), by name; nothing is read before it is asked for.

    Attributes:
        shapes: name → shape, of all files together.

    Raises:
        BundleError: no weights, pickles only, a shard that is missing or cut, an index that does not fit its shards,
            tensors that are not floating point; everything at once.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = Path(place)
        self._files: dict[str, Any] = {}
        self._file_of: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        problems: list[str] = []
        for path in self._paths():
            self._open(path, problems)
        index = self.place / INDEX
        if self.place.is_dir() and index.is_file():
            stated = _weight_map(index)
            problems += [
                f"{name}: stated to be in {file}, but not there"
                for name, file in stated.items()
                if file in self._files and self._file_of.get(name) != file
            ]
        if problems:
            raise BundleError(refusal(self.place, problems))

    def read(self, name: str) -> Tensor:
        """One tensor, a view of the mapped file: copy it to keep it."""
        return self._files[self._file_of[name]].get_tensor(name)

    def read_part(self, name: str, place: Sequence[slice]) -> Tensor:
        """``read(name)[place]``, of which nothing else is read; no axis may be empty."""
        return self._files[self._file_of[name]].get_slice(name)[tuple(place)]

    def _paths(self) -> list[Path]:
        if self.place.is_file():
            if self.place.suffix != ".safetensors":
                raise BundleError(refusal(self.place, [_pickled([self.place])]))
            return [self.place]
        if not self.place.is_dir():
            raise BundleError(refusal(self.place, ["no such folder"]))
        index = self.place / INDEX
        if index.is_file():
            return [self.place / name for name in sorted(set(_weight_map(index).values()))]
        found = sorted(self.place.glob("*.safetensors"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            known = [path for path in found if path.name == SINGLE]
            if len(known) != 1:
                raise BundleError(refusal(self.place, [f"several weight files and no {INDEX}: {names}"]))
            return known
        if not found:
            pickles = sorted(path for path in self.place.iterdir() if path.suffix.lower() in PICKLES)
            told = _pickled(pickles) if pickles else "no *.safetensors file"
            raise BundleError(refusal(self.place, [told]))
        return found

    def _open(self, path: Path, problems: list[str]) -> None:
        if not path.is_file():
            problems.append(f"{path.name}: missing, though {INDEX} names it; the download is not complete")
            return
        try:
            file = safe_open(path, framework="pt")
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                part = file.get_slice(name)
                if name in self.shapes:
                    problems.append(f"tensor {name}: in {self._file_of[name]} and in {path.name}")
                if part.get_dtype() not in FLOATS and not name.endswith("position_ids"):
                    problems.append(
                        f"tensor {name}: type {part.get_dtype()}, expected one of {', '.join(sorted(FLOATS))} "
                        "(quantised weights are not read; take the original ones)"
                    )
                self.shapes[name] = tuple(part.get_shape())
                self._file_of[name] = path.name
            self._files[path.name] = file
        except SafetensorError as error:
            problems.append(f"{path.name}: not a whole safetensors file ({error}); download it again")


def write_tensors(
    folder: Path,
    tensors: Iterable[tuple[str, Tensor]],
    shard_bytes: int = SHARD_BYTES,
    metadata: Mapping[str, str] | None = PT,
) -> None:
    """Write ``model.safetensors``, or shards of at most about ``shard_bytes`` and their index, as the hub has them.

    One shard is in memory beside the model, whatever the size of the whole.
    """
    shard: dict[str, Tensor] = {}
    size, total = 0, 0
    drafts: list[Path] = []

    def flush() -> None:
        drafts.append(folder / f"shard-{len(drafts)}.safetensors")
        save_file(shard, drafts[-1], metadata=None if metadata is None else dict(metadata))

    weight_map: dict[str, int] = {}
    for name, tensor in tensors:
        nbytes = tensor.numel() * tensor.element_size()
        if shard and size + nbytes > shard_bytes:
            flush()
            shard, size = {}, 0
        kept = tensor.detach().cpu().contiguous()
        # A part of a larger tensor is copied, because safetensors takes no two that share their memory.
        shard[name] = kept.clone() if kept.untyped_storage().nbytes() != nbytes else kept
        weight_map[name] = len(drafts)
        size, total = size + nbytes, total + nbytes
    flush()
    if len(drafts) == 1:
        drafts[0].rename(folder / SINGLE)
        return
    names = [f"model-{number + 1:05d}-of-{len(drafts):05d}.safetensors" for number in range(len(drafts))]
    for draft, name in zip(drafts, names, strict=True):
        draft.rename(folder / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: names[number] for name, number in weight_map.items()},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BundleError: there is no such file, or it holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(refusal(path.parent, [f"{path.name}: missing"])) from None
    except ValueError as error:
        raise BundleError(refusal(path.parent, [f"{path.name}: not valid JSON ({error})"])) from error
    if not isinstance(content, dict):
        raise BundleError(refusal(path.parent, [f"{path.name}: expected an object, found {type(content).__name__}"]))
    return content


def refusal(place: Path, problems: list[str]) -> str:
    """What is wrong with a folder, one line each."""
    plural = "problem" if len(problems) == 1 else "problems"
    return f"{place}: {len(problems)} {plural}\n" + "\n".join(f"  - {problem}" for problem in problems)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return {str(name): Path(file).name for name, file in read_json(index)["weight_map"].items()}
    except (KeyError, AttributeError, TypeError) as error:
        raise BundleError(refusal(index.parent, [f"{index.name}: has no 'weight_map' ({error})"])) from error


def _pickled(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths)
    return (
        f"{names}: pickle files can run code and are refused. Convert once, in a process of its own that loads nothing "
        f"but tensors: mm15 convert-weights {paths[0].parent if len(paths) > 1 else paths[0]}"
    )
