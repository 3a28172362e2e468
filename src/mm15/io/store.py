"""Local copies of pictures that data sets name by network address. Nothing here opens a connection.

A store is a folder of picture files or a set of tar shards, made by whatever downloaded them. How the address becomes a
name is the ``key``:

    sha256, sha1, md5   hex digest of the address as UTF-8
    name                last part of the address's path ("https://x/y/a.jpg?s=2" → "a.jpg"), or a bare file name
    path                host and path ("x/y/a.jpg"), as ``wget -x`` lays files out
    url-field           tar shards only: the field "url" of the ``.json`` member beside the picture (img2dataset)

A digest may carry any picture suffix, and its file may lie in folders named by its first two digits and the two after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

import numpy as np

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import MediaRef
from mm15.io.index import kept_table, stamp_of
from mm15.io.media import read_bytes
from mm15.io.tar import TarRows

StoreKey = Literal["sha256", "sha1", "md5", "name", "path", "url-field"]
SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")


class ImageStore:
    """Finds the local copy of an address. Small to send to another process.

    Args:
        place: a folder of files, or tar shards.
        key: how an address becomes a name.

    Raises:
        ConfigError: there is no such folder or shard, or the key does not fit.
    """

    def __init__(self, place: str | Path | Sequence[str | Path], key: StoreKey = "sha256") -> None:
        self.key: StoreKey = key
        self.folder = Path(place) if isinstance(place, str | Path) and Path(place).is_dir() else None
        self.tars = [] if self.folder else [Path(p) for p in ([place] if isinstance(place, str | Path) else place)]
        problems = [f"no such folder or tar file: {path}" for path in self.tars if not path.is_file()]
        if not self.folder and not self.tars:
            problems.append("no tar shards given")
        if key not in get_args(StoreKey):
            problems.append(f"unknown key '{key}'; known: {', '.join(get_args(StoreKey))}")
        if self.folder and key == "url-field":
            problems.append("key 'url-field' reads the .json members of tar shards; for a folder use another key")
        if problems:
            raise ConfigError(problems, "store")

    def __reduce__(self) -> tuple[type[ImageStore], tuple[Any, StoreKey]]:
        return ImageStore, (self.folder or tuple(self.tars), self.key)

    def find(self, address: str) -> MediaRef | None:
        """The copy of the picture with this network address (or bare file name, for key ``name``), if there is one."""
        name = address if self.key == "url-field" else _name_of(address, self.key)
        if not name:
            return None
        return self._in_folder(self.folder, name) if self.folder else self._in_tars(name)

    def _in_folder(self, folder: Path, name: str) -> MediaRef | None:
        if self.key in ("name", "path"):
            return MediaRef(path=str(folder / name)) if (folder / name).is_file() else None
        for below in ("", name[:2], f"{name[:2]}/{name[2:4]}"):
            for suffix in ("", *(f".{suffix}" for suffix in SUFFIXES)):
                path = folder / below / f"{name}{suffix}"
                if path.is_file():
                    return MediaRef(path=str(path))
        return None

    def _in_tars(self, name: str) -> MediaRef | None:
        hash_N = self._table[:, 0]
        wanted = _hash(name)
        place = int(np.searchsorted(hash_N, wanted))
        while place < len(hash_N) and hash_N[place] == wanted:
            shard, row = (int(number) for number in self._table[place, 1:])
            ref = self._ref(self._shards[shard], row, name)
            if ref is not None:
                return ref
            place += 1
        return None

    def _ref(self, shard: TarRows, row: int, name: str) -> MediaRef | None:
        for listed, ref in self._named(shard, row):
            if listed == name:
                return ref
        return None

    @cached_property
    def _shards(self) -> list[TarRows]:
        return [TarRows(path) for path in self.tars]

    @cached_property
    def _table(self) -> np.ndarray:
        """Sorted (hash of name, shard, row), kept beside the first shard."""
        told = [(path.name, *stamp_of(path)) for path in self.tars]
        digest = hashlib.sha256(repr((told, self.key)).encode()).digest()
        stamp = [int.from_bytes(digest[k : k + 8], "big", signed=True) for k in (0, 8, 16)]
        sidecar = self.tars[0].with_name(f"{self.tars[0].name}.{digest[:6].hex()}.store.idx")
        return kept_table(sidecar, stamp, 3, self._scan)

    def _scan(self) -> np.ndarray:
        entries = [
            (_hash(name), number, row)
            for number, shard in enumerate(self._shards)
            for row in range(len(shard))
            for name, _ in self._named(shard, row)
        ]
        table = np.array(entries, np.int64).reshape(-1, 3)
        return table[np.argsort(table[:, 0], kind="stable")]

    def _named(self, shard: TarRows, row: int) -> list[tuple[str, MediaRef]]:
        """The pictures of a row by the name they are looked up under; none where the row cannot be read."""
        try:
            members = shard.row(row)
            refs = {ext: ref for ext, ref in members.items() if ext.rpartition(".")[2] in SUFFIXES}
            if self.key == "url-field":
                told = json.loads(read_bytes(members["json"])) if "json" in members and refs else {}
                return [(str(told["url"]), next(iter(refs.values())))] if "url" in told else []
        except (SkipSample, ValueError, RecursionError, TypeError):
            return []
        if self.key in ("name", "path"):
            names = {ext: ref.member.removeprefix("./") for ext, ref in refs.items()}
            last = self.key == "name"
            return [(PurePosixPath(name).name if last else name, refs[ext]) for ext, name in names.items()]
        return [(PurePosixPath(members["__key__"]).name, ref) for ref in refs.values()]


def _name_of(address: str, key: str) -> str:
    if key in ("sha256", "sha1", "md5"):
        return hashlib.new(key, address.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    path = PurePosixPath(f"{parts.hostname or ''}/{unquote(parts.path)}".lstrip("/"))
    if ".." in path.parts or "\0" in str(path):
        return ""
    return path.name if key == "name" else str(path)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
