"""The user's files: found, each taken once, and put on one side of a split by content, not by name or place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm15.base.errors import ConfigError
from mm15.base.rng import seed_of
from mm15.build.materials import Split


@dataclass(frozen=True, slots=True)
class Found:
    """One input file. ``name`` is its path below the input folder: rows are named after it, not after the machine."""

    path: Path
    name: str
    digest: str
    """SHA-256 of the bytes, hex."""

    @property
    def key(self) -> str:
        """Short and safe as a file name, the same wherever the file lies."""
        return self.digest[:16]


def find_files(inputs: Sequence[Path], suffixes: Iterable[str]) -> list[tuple[Path, str]]:
    """(path, name) of every file with one of the suffixes (lower case, with dot), sorted by name.

    Hidden files and folders are passed over; folders are walked at any depth, links to folders are not followed.
    """
    wanted = tuple(suffixes)
    found: dict[Path, str] = {}
    for given in inputs:
        if given.is_file():
            if given.name.lower().endswith(wanted):
                found.setdefault(given, given.name)
            continue
        for folder, below, names in os.walk(given):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in names:
                path = Path(folder) / name
                if name.lower().endswith(wanted) and not name.startswith(".") and path.is_file():
                    found.setdefault(path, path.relative_to(given).as_posix())
    return sorted(found.items(), key=lambda item: (item[1], str(item[0])))


def take_files(inputs: Sequence[Path], suffixes: Iterable[str]) -> tuple[list[Found], list[tuple[str, str]]]:
    """Every file once, in the order of names, and what was left out as (reason, path).

    Raises:
        ConfigError: there is no such file in the inputs.
    """
    suffixes = tuple(suffixes)
    listed = find_files(inputs, suffixes)
    if not listed:
        raise ConfigError([f"no {' or '.join(suffixes)} file in {', '.join(map(str, inputs))}"], "--input")
    found: dict[str, Found] = {}
    dropped: list[tuple[str, str]] = []
    for path, name in listed:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            dropped.append((f"cannot be read: {error.strerror}", str(path)))
            continue
        if digest in found:
            dropped.append(("the same bytes as another file", str(path)))
        else:
            found[digest] = Found(path, name, digest)
    return list(found.values()), dropped


def held_out(digests: Iterable[str], share: float) -> set[str]:
    """The digests that are held out: those that come first by a hash of their own, at least one, never all of them.

    Raises:
        ConfigError: a share above 0 of a single thing.
    """
    ranked = sorted(digests, key=lambda digest: seed_of(0, "held out", digest))
    if share <= 0:
        return set()
    if len(ranked) < 2:
        raise ConfigError(
            ["there is only one file, which cannot be on both sides; give more, or leave it out"], "--heldout"
        )
    return set(ranked[: min(len(ranked) - 1, max(1, round(share * len(ranked))))])


def one_side(
    found: Sequence[Found], share: float, split: Split, known: Callable[[str], Split | None] | None = None
) -> list[Found]:
    """The files of one side, in their order.

    Args:
        known: the side of a file by its name, where that is settled; the others are split by their content.
    """
    settled = {file.digest: side for file in found if known and (side := known(file.name))}
    free = [file.digest for file in found if file.digest not in settled]
    # With something held out already, a single other file can be trained on.
    share = 0.0 if len(free) < 2 and "heldout" in settled.values() else share
    held = held_out(free, share) | {digest for digest, side in settled.items() if side == "heldout"}
    return [file for file in found if (file.digest in held) == (split == "heldout")]
