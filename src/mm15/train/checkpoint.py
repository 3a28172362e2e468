"""Checkpoints of a run: written beside, named last, verified before they are read.

``checkpoints/step-00000040/`` holds what ``torch.distributed.checkpoint`` (DCP) wrote (weights, optimizer state) and
``manifest.json``: step, loader state, and size and SHA-256 of every file. A save goes to a hidden folder first; the
manifest is written last, everything is flushed to disk, then the folder is renamed. A kill, a full disk or a damaged
file at any moment leaves the previous checkpoint as the newest valid one.

DCP's ``.metadata`` is a pickle, so nothing is read before it matches the run's own manifest: checkpoints are for
resuming your own run; share a bundle instead.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from mm15.base.errors import BundleError, MM15Error
from mm15.dist.ranks import has_ranks, is_first
from mm15.io.atomic import write_atomic
from mm15.train.optim import OptimizerSet

FORMAT = 1
MANIFEST = "manifest.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder whose every byte matched its manifest. Only ``verify`` makes one, only one can be loaded."""

    folder: Path
    step: int
    loader: dict[str, Any]


def save(
    root: Path, step: int, model: nn.Module, optimizer: OptimizerSet, loader: Mapping[str, Any], keep: int = 2
) -> Path:
    """Write ``root/step-…`` and delete all but the newest ``keep``. Every rank calls it.

    Args:
        root: the run's ``checkpoints`` folder.
        step: steps done.
        loader: state of the loader, JSON values only.

    Raises:
        MM15Error: it could not be written (disk full …); what was there before is untouched.
    """
    folder, hidden = root / f"step-{step:08d}", root / f".step-{step:08d}.part"
    try:
        if is_first():
            root.mkdir(parents=True, exist_ok=True)
            for left_over in root.glob(".step-*.part"):
                shutil.rmtree(left_over)
            hidden.mkdir()
        with _quiet():
            state_dict_saver.save(_tensors(model, optimizer), checkpoint_id=hidden, no_dist=not has_ranks())
        if is_first():
            _write_manifest(hidden, step, loader)
            if folder.exists():
                shutil.rmtree(folder)
            hidden.rename(folder)
            _flush(root)
            for old in _folders(root)[keep:]:
                shutil.rmtree(old)
        if has_ranks():
            dist.barrier()
    except (OSError, CheckpointException) as error:
        shutil.rmtree(hidden, ignore_errors=True)
        raise MM15Error(
            f"could not save the checkpoint of step {step} in {root}: {_reason(error)}. Earlier checkpoints are "
            "untouched; free some space or choose another disk, then resume the run"
        ) from error
    return folder


def newest_valid(root: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole. Damaged ones are named in the log and renamed to ``*.broken``."""
    for folder in _folders(root):
        try:
            return verify(folder)
        except BundleError as error:
            log.warning("%s", error)
            if is_first():
                aside = folder.with_name(f"{folder.name}.broken")
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
    return None


def verify(folder: Path) -> Checkpoint:
    """Compare every file with the manifest, without interpreting any.

    Raises:
        BundleError: naming every file that is missing, unlisted, of another size, or of another hash.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        claimed = manifest.pop("sha256")
        step, loader, files = int(manifest["step"]), dict(manifest["loader"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"checkpoint {folder} is damaged: {MANIFEST} is unreadable ({error})") from error
    if claimed != _digest_of(manifest):
        raise BundleError(f"checkpoint {folder} is damaged: {MANIFEST} does not match its own hash")
    if manifest["format"] != FORMAT:
        raise BundleError(f"checkpoint {folder} has format {manifest['format']}; this version reads format {FORMAT}")
    present = {path.name: path for path in folder.iterdir() if path.name != MANIFEST}
    problems = [f"{name}: missing" for name in sorted(set(files) - set(present))]
    problems += [f"{name}: not in the manifest" for name in sorted(set(present) - set(files))]
    for name in sorted(set(files) & set(present)):
        size = present[name].stat().st_size
        if size != files[name]["size"]:
            problems.append(f"{name}: {size} bytes, expected {files[name]['size']}")
        elif _sha256(present[name]) != files[name]["sha256"]:
            problems.append(f"{name}: its contents changed since it was written")
    if problems:
        raise BundleError(f"checkpoint {folder} is damaged: {'; '.join(problems)}")
    return Checkpoint(folder, step, loader)


def load(checkpoint: Checkpoint, model: nn.Module, optimizer: OptimizerSet) -> None:
    """Put weights and optimizer state back, bit for bit.

    Raises:
        BundleError: the model or what is trained differs from the saved one; every difference is named.
    """
    saved = {
        name: entry
        for name, entry in FileSystemReader(checkpoint.folder).read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    wanted: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    of_name = {name: parameter for parameter, name in optimizer.names.items()}
    problems = [f"{name}: missing" for name in sorted(set(wanted) - set(saved))]
    states: dict[str, dict[str, Tensor]] = {}
    for name, entry in saved.items():
        kind, parameter_name, *state_name = name.split("/")
        if kind == "optimizer" and parameter_name in of_name:
            parameter = of_name[parameter_name]
            whole = entry.size == parameter.shape
            dtype = entry.properties.dtype
            state = (
                torch.empty_like(parameter, dtype=dtype, requires_grad=False)
                if whole
                else torch.empty(entry.size, dtype=dtype, device=parameter.device)
            )
            states.setdefault(parameter_name, {})[state_name[0]] = wanted[name] = state
        elif name not in wanted:
            problems.append(f"{name}: saved, but not wanted by this model and optimizer")
        elif wanted[name].shape != entry.size:
            problems.append(f"{name}: saved as {list(entry.size)}, wanted as {list(wanted[name].shape)}")
    if problems:
        raise BundleError(f"checkpoint {checkpoint.folder} is of another run:\n  " + "\n  ".join(problems))
    with _quiet():
        state_dict_loader.load(wanted, checkpoint_id=checkpoint.folder, no_dist=not has_ranks())
    optimizer.load_state(states)


def _tensors(model: nn.Module, optimizer: OptimizerSet) -> dict[str, Tensor]:
    """Flat: model/<name> and optimizer/<name>/<state>."""
    return {f"model/{name}": tensor for name, tensor in model.state_dict().items()} | {
        f"optimizer/{name}/{key}": tensor for name, state in optimizer.state().items() for key, tensor in state.items()
    }


def _write_manifest(folder: Path, step: int, loader: Mapping[str, Any]) -> None:
    files = {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(folder.iterdir())}
    manifest = {"format": FORMAT, "step": step, "loader": dict(loader), "files": files}
    write_atomic(folder / MANIFEST, json.dumps({**manifest, "sha256": _digest_of(manifest)}, indent=1))


def _folders(root: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    return sorted((path for path in root.glob("step-*") if path.suffix != ".broken"), reverse=True)


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    """Make names in a folder survive a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)


def _reason(error: BaseException) -> str:
    """The system's own words: DCP wraps the error of each rank, and torch's writer wraps that of the file."""
    if isinstance(error, CheckpointException) and error.failures:
        error, _ = next(iter(error.failures.values()))
    inner: BaseException | None = error
    while inner and not isinstance(inner, OSError):
        inner = inner.__cause__ or inner.__context__
    return str(inner or error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without DCP's warning that one process saves alone, which is what we want."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
