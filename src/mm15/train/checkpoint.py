"""Checkpoints of a run: written beside, named last, verified before they are read.

``checkpoints/step-00000040/`` holds what ``torch.distributed.checkpoint`` (DCP) wrote (weights, optimizer state; a file
of each rank) and ``manifest.json``: step, loader state, and size and SHA-256 of every file. A save goes to a hidden
folder first; the manifest is written last, everything is flushed to disk, then the folder is renamed. A kill, a full
disk or a damaged file at any moment leaves the previous checkpoint as the newest valid one. ``saving.Saver`` does this
beside the training. All ranks must see the same folder.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from mm15.base.errors import BundleError, MM15Error
from mm15.dist.ranks import has_ranks, is_first, place
from mm15.io.atomic import write_atomic
from mm15.train.crossing import Crossing, as_wanted
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
    """Write ``root/step-…``, wait until it is there, and delete all but the newest ``keep``. Every rank calls it.

    Args:
        root: the run's ``checkpoints`` folder.
        step: steps done.
        loader: state of the loader, JSON values only.

    Raises:
        MM15Error: it could not be written (disk full …); what was there before is untouched.
    """
    return write(root, step, tensors_of(model, optimizer), loader, keep)


def write(
    root: Path,
    step: int,
    tensors: dict[str, Any],
    loader: Mapping[str, Any],
    keep: int = 2,
    group: dist.ProcessGroup | None = None,
    before: Callable[[], None] | None = None,
) -> Path:
    """``save`` of tensors by name (``tensors_of``), which nobody may change meanwhile.

    Args:
        group: of all ranks, for CPU tensors; default: the one that every rank is in.
        before: what must be on the disk before this checkpoint counts, such as the log; its ``OSError`` fails the save.

    Raises:
        MM15Error: on every rank, where one of them could not write.
    """
    folder, hidden = root / f"step-{step:08d}", root / f".step-{step:08d}.part"

    def prepare() -> None:
        if before:
            before()
        if is_first():
            root.mkdir(parents=True, exist_ok=True)
            for left_over in root.glob(".step-*.part"):
                shutil.rmtree(left_over)
            hidden.mkdir()

    def sizes() -> dict[str, dict[str, Any]]:
        # Every rank reads its own files again; the first also what it wrote for all.
        mine = [path for path in hidden.iterdir() if path.name.startswith(f"__{place()[0]}_")]
        mine += [path for path in hidden.iterdir() if is_first() and not path.name.startswith("__")]
        return {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(mine)}

    def finish() -> None:
        if is_first():
            _write_manifest(hidden, step, loader, {name: entry for part in parts for name, entry in part.items()})
            if folder.exists():
                shutil.rmtree(folder)
            hidden.rename(folder)
            _flush(root)
            for old in _folders(root)[keep:]:
                shutil.rmtree(old)

    try:
        _together(prepare, group)
        with _quiet():
            state_dict_saver.save(tensors, checkpoint_id=hidden, process_group=group, no_dist=not has_ranks())
        parts = _together(sizes, group)
        _together(finish, group)
    except (OSError, CheckpointException) as error:
        if is_first():
            shutil.rmtree(hidden, ignore_errors=True)
        raise MM15Error(
            f"could not save the checkpoint of step {step} in {root}: {_reason(error)}. Earlier checkpoints are "
            "untouched; free some space or choose another disk, then resume the run"
        ) from error
    return folder


def check_writable(root: Path) -> None:
    """Make the folder, write a byte into it and take it away again. Every rank calls it.

    Raises:
        MM15Error: that is not possible.
    """

    def probe() -> None:
        root.mkdir(parents=True, exist_ok=True)
        if is_first():
            (root / ".probe").write_bytes(b"x")
            (root / ".probe").unlink()

    try:
        _together(probe)
    except OSError as error:
        raise MM15Error(f"checkpoints cannot be written to {root}: {error}. Choose another disk or folder") from error


T = TypeVar("T")


def _together(work: Callable[[], T], group: dist.ProcessGroup | None = None) -> list[T]:
    """Results of all ranks. Where one of them fails all do, so that none waits for one that gave up.

    Raises:
        OSError: what went wrong on the first rank that failed.
    """
    if not has_ranks():
        return [work()]
    try:
        mine: tuple[T | None, str] = (work(), "")
    except OSError as error:
        mine = (None, f"rank {place()[0]}: {error}")
    told: list[Any] = [None] * place()[1]
    dist.all_gather_object(told, mine, group)
    if problems := [problem for _, problem in told if problem]:
        raise OSError(problems[0])
    return [result for result, _ in told]


def newest_valid(root: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole. Damaged ones are named in the log and renamed to ``*.broken``.

    Every rank calls it; each reads a part of the files, and all come to the same answer.

    Raises:
        MM15Error: the ranks do not see the same folder.
    """
    listings = _together(lambda: [folder.name for folder in _folders(root)])
    if any(listing != listings[0] for listing in listings):
        raise MM15Error(
            f"the ranks see different checkpoints in {root}: {listings}. Put the run folder on storage that all share"
        )
    for folder in [root / name for name in listings[0]]:
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
    """Compare every file with the manifest, without interpreting any. Every rank calls it.

    Raises:
        BundleError: naming every file that is missing, unlisted, of another size, or of another hash.
    """
    found: list[Checkpoint] = []

    def examine() -> str:
        try:
            found.append(_verified(folder, *place()))
        except BundleError as error:
            return str(error)
        return ""

    if problems := [problem for problem in _together(examine) if problem]:
        raise BundleError("; ".join(dict.fromkeys(problems)))
    return found[0]


def _verified(folder: Path, rank: int, world: int) -> Checkpoint:
    """``verify``, where the contents of every ``world``-th file alone are read."""
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
    for index, name in enumerate(sorted(set(files) & set(present))):
        size = present[name].stat().st_size
        if size != files[name]["size"]:
            problems.append(f"{name}: {size} bytes, expected {files[name]['size']}")
        elif index % world == rank and _sha256(present[name]) != files[name]["sha256"]:
            problems.append(f"{name}: its contents changed since it was written")
    if problems:
        raise BundleError(f"checkpoint {folder} is damaged: {'; '.join(problems)}")
    return Checkpoint(folder, step, loader)


def load(checkpoint: Checkpoint, model: nn.Module, optimizer: OptimizerSet) -> None:
    """Put weights and optimizer state back, bit for bit, whatever ranks they were and are shared out over.

    Raises:
        BundleError: the model or what is trained differs from the saved one; every difference is named.
    """
    saved = {
        name: entry
        for name, entry in FileSystemReader(checkpoint.folder).read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    weights = model.state_dict()
    told, pieces = as_wanted(saved, {name: tensor.shape for name, tensor in weights.items()})
    wanted: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in weights.items()}
    of_name = {name: parameter for parameter, name in optimizer.names.items()}
    problems = [f"{name}: missing" for name in sorted(set(wanted) - set(told))]
    states: dict[str, dict[str, Tensor]] = {}
    for name, (size, dtype) in told.items():
        kind, parameter_name, *state_name = name.split("/")
        if kind == "optimizer" and parameter_name in of_name:
            parameter = of_name[parameter_name]
            state = (
                torch.empty_like(parameter, dtype=dtype, requires_grad=False)
                if size == parameter.shape
                else torch.empty(size, dtype=dtype, device=parameter.device)
            )
            states.setdefault(parameter_name, {})[state_name[0]] = wanted[name] = state
        elif name not in wanted:
            problems.append(f"{name}: saved, but not wanted by this model and optimizer")
        elif wanted[name].shape != size:
            problems.append(f"{name}: saved as {list(size)}, wanted as {list(wanted[name].shape)}")
    if problems:
        raise BundleError(f"checkpoint {checkpoint.folder} is of another run:\n  " + "\n  ".join(problems))
    with _quiet():
        state_dict_loader.load(
            wanted, checkpoint_id=checkpoint.folder, planner=Crossing(pieces), no_dist=not has_ranks()
        )
    optimizer.load_state(states)


def tensors_of(model: nn.Module, optimizer: OptimizerSet) -> dict[str, Tensor]:
    """Flat: model/<name> and optimizer/<name>/<state>."""
    return {f"model/{name}": tensor for name, tensor in model.state_dict().items()} | {
        f"optimizer/{name}/{key}": tensor for name, state in optimizer.state().items() for key, tensor in state.items()
    }


def _write_manifest(folder: Path, step: int, loader: Mapping[str, Any], files: Mapping[str, Any]) -> None:
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
