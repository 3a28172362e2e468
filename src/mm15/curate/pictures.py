"""Sets of pictures to be captioned: a folder of files, or what sources show."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from pydantic import Field

from mm15.base.config import Strict, read_yaml, validate
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import MediaRef
from mm15.data.source import Source, SourceConfig, open_sources
from mm15.io.media import read_bytes
from mm15.train.recipe import load_recipe

LISTED = "sources.yaml"
"""The name of the file that says how the data files beside it are read."""
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
BEGINNINGS = {
    b"\x89PNG": "png",
    b"\xff\xd8": "jpg",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"P5": "ppm",
    b"P6": "ppm",
}
"""First bytes of a picture file → its ending."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture. ``file`` is its name below the set's folder, empty where it is no file of its own."""

    key: str
    media: MediaRef
    file: str = ""


class Pictures(Protocol):
    """A numbered set of pictures. ``folder`` is where its files lie, None where they are no files of their own."""

    folder: Path | None

    def __len__(self) -> int: ...

    def picture(self, number: int) -> Shown:
        """Picture ``number``. Raises ``SkipSample`` where there is none in its row."""
        ...

    def describe(self) -> str:
        """Changes when the set does."""
        ...


class FolderPictures:
    """The picture files of a folder at any depth, by name; hidden ones are passed over.

    Raises:
        ConfigError: no such folder, or no picture in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError([f"no such folder: {folder}"], "--images")
        self.folder: Path | None = folder
        self.names: list[str] = []
        for place, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith("."))
            here = Path(place).relative_to(folder)
            self.names += [
                (here / name).as_posix()
                for name in names
                if name.lower().endswith(ENDINGS) and not name.startswith(".")
            ]
        self.names.sort()
        if not self.names:
            raise ConfigError([f"no picture ({', '.join(ENDINGS)}) in {folder}"], "--images")

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, number: int) -> Shown:
        """File ``number``, sorted by name."""
        name = self.names[number]
        return Shown(name, MediaRef(path=str(Path(self.folder or "") / name)), name)

    def describe(self) -> str:
        """How many files, and the first and last name."""
        return f"{len(self.names)} files, {self.names[0]} to {self.names[-1]}"


class SourcePictures:
    """The first picture of every sample of these sources."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self.folder: Path | None = None
        self._starts = [0, *accumulate(map(len, self.sources))]

    def __len__(self) -> int:
        return self._starts[-1]

    def picture(self, number: int) -> Shown:
        """The first picture of sample ``number``, counted through the sources."""
        place = bisect_right(self._starts, number) - 1
        sample = self.sources[place].sample(number - self._starts[place])
        if not sample.images:
            raise SkipSample("a sample without a picture", self.sources[place].address(number - self._starts[place]))
        return Shown(sample.key, sample.images[0].media)

    def describe(self) -> str:
        """The sources by name and content."""
        return "; ".join(f"{source.name}: {source.fingerprint}" for source in self.sources)


def copy_picture(media: MediaRef, folder: Path, stem: str) -> str:
    """Copy a picture's bytes into a folder; the file's name.

    Raises:
        SkipSample: it cannot be read, or is no picture file (a page of a PDF, a frame of a film).
    """
    data = read_bytes(media)
    ending = next((ending for start, ending in BEGINNINGS.items() if data.startswith(start)), "")
    if not ending or media.frame:
        raise SkipSample("not a picture file by itself; give pictures", str(media))
    (folder / f"{stem}.{ending}").write_bytes(data)
    return f"{stem}.{ending}"


def pictures_of(path: Path, format: str = "", data: Path = Path()) -> Pictures:
    """The pictures that a path or name stands for.

    Args:
        path: a folder of pictures; a ``sources.yaml`` or the folder it lies in; a recipe or the name of a shipped one;
            or, with ``format``, data files: a file, folder or pattern, as a source's ``path``.
        data: folder that a recipe's paths start from.

    Raises:
        ConfigError: nothing there, or everything that is wrong with what is.
    """
    if format:
        told = {"name": "images", "path": str(path), "format": format, "category": "caption"}
        return SourcePictures([Source(validate(SourceConfig, told, str(path)))])
    listed = path / LISTED if path.is_dir() else path
    if path.is_dir() and not listed.is_file():
        return FolderPictures(path)
    if listed.name == LISTED and listed.is_file():
        return SourcePictures(open_sources(validate(_Listed, read_yaml(listed), str(listed)).sources, listed.parent))
    if path.suffix in (".yaml", ".yml") or not (path.suffix or path.exists()):
        return SourcePictures(open_sources(load_recipe(path).sources, data))
    raise ConfigError(
        [f"{path}: give a folder of pictures, a {LISTED}, a recipe, or data files with --format"], "--images"
    )


class _Listed(Strict):
    sources: list[SourceConfig] = Field(min_length=1)
