"""Rows of a tar file (WebDataset): members that share a key are one row. Nothing is extracted.

The key is the member's name up to the first dot of its last part, folders kept ("./" in front is ignored); what follows
the dot, in lower case, is the field: ``000/0001.image.jpg`` is field ``image.jpg`` of row ``000/0001``. Members of one
row need not be neighbours. Folders and hidden files (``.DS_Store``, ``._0001.jpg``) are passed over; every other member
is in a row, and a row with a member that cannot be used (a link, a device, a sparse file, an unsafe name, a name
without a suffix, one that stands twice or is cut off) is refused with the reason when it is read. Where a header is
damaged, the rest of the file is one such row.

One pass over the headers finds the places of all members. They are kept in ``<tar>.rows.idx``, an int64 ``.npy`` array
that is memory-mapped from then on and made anew when the tar has changed; in a read-only folder it stays in memory.

Legend: R rows, M members.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import MediaRef
from mm15.io.index import kept_table, stamp_of

BLOCK = 512
MAX_NAME = 4096
MAX_DEPTH = 16
MAX_EXTENDED = 1 << 20
"""Bytes of a long name or pax header; more is an attack on memory."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}

REASONS = (
    "is damaged: no readable tar header; what follows it in the file cannot be read. Download or make the file again",
    "is cut off: the file ends before it does. Download or make the file again",
    "is a link; only regular files are read",
    "is no regular file (a device or a pipe)",
    "is a sparse file; make the tar without them (no --sparse)",
    "has no suffix, so it is no field of a row",
    "is an unsafe name: absolute, with '..', too long or too deep",
    "stands twice in the tar",
)
DAMAGED, CUT, LINK, SPECIAL, SPARSE, BARE, UNSAFE, TWICE = range(len(REASONS))


class Member(NamedTuple):
    """A member as its header tells it. ``fault`` is an index into ``REASONS``, -1 where it can be used."""

    name: str
    offset: int
    size: int
    fault: int = -1


class TarRows:
    """The rows of one uncompressed tar file: ``{"__key__": key, field: MediaRef, ...}``, in order of first appearance.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: not a tar file, or a compressed one, which has no random access.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        stamp = stamp_of(self.path)
        flat = kept_table(self.path.with_name(f"{self.path.name}.rows.idx"), stamp, 2, lambda: _scan(self.path)).ravel()
        rows, members, length = flat[:3].tolist()
        ends = np.cumsum([4, rows + 1, 3 * (members + 1)])
        self._first_R = flat[ends[0] : ends[1]]
        self._members_M3 = flat[ends[1] : ends[2]].reshape(-1, 3)
        self._names = flat[ends[2] :].view(np.uint8)[:length]

    def __len__(self) -> int:
        return len(self._first_R) - 1

    def __reduce__(self) -> tuple[type[TarRows], tuple[Path]]:
        return TarRows, (self.path,)

    def address(self, row: int) -> str:
        """``shard.tar:key``."""
        return f"{self.path}:{split_name(self._row_members(row)[0].name)[0]}"

    def row(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: there is no such row.
            SkipSample: naming tar, key and member, where a member of the row cannot be used.
        """
        members = self._row_members(row)
        for member in members:
            if member.fault >= 0:
                raise SkipSample(f"member '{member.name}' {REASONS[member.fault]}", self.address(row))
        fields: dict[str, Any] = {"__key__": split_name(members[0].name)[0]}
        for member in members:
            ref = MediaRef(str(self.path), member.name, member.offset, member.size)
            fields[split_name(member.name)[1]] = ref
        return fields

    def _row_members(self, row: int) -> list[Member]:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, there is no row {row}")
        first, last = self._first_R[row : row + 2].tolist()
        found = []
        for (offset, size, start), end in zip(
            self._members_M3[first:last].tolist(), self._members_M3[first + 1 : last + 1, 2].tolist(), strict=True
        ):
            name = self._names[start:end].tobytes().decode()
            found.append(Member(name, offset, size) if offset >= 0 else Member(name, -1, -1, -1 - offset))
        return found


def split_name(name: str) -> tuple[str, str]:
    """(key, field) of a member's name; the field is empty where the name has no suffix."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, field = last.partition(".")
    return f"{folder}{slash}{stem}", field.lower()


def walk(path: Path) -> Iterator[Member]:
    """All members of a tar file but folders and hidden files, in file order, faulty ones with their fault.

    Raises:
        ConfigError: not a tar file, or a compressed one.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        start = file.read(BLOCK)
        if not start:
            raise ConfigError([f"{path}: not a tar file: 0 bytes"], "tar")
        for magic, name in COMPRESSED.items():
            if start.startswith(magic):
                raise ConfigError([f"{path}: compressed ({name}), so without random access; unpack it to .tar"], "tar")
        yield from _headers(file, end, path)


def _headers(file: BinaryIO, end: int, path: Path) -> Iterator[Member]:
    position, name, pax = 0, "", {}
    shared: dict[str, str] = {}
    while position < end:
        file.seek(position)
        block = file.read(BLOCK)
        if not block.strip(b"\0"):  # The end mark, or padding; a tar that was appended to goes on behind it.
            position += BLOCK
            continue
        info = _header(block)
        if info is None or info.size < 0:
            if position == 0:
                raise ConfigError([f"{path}: not a tar file (starts with {block[:12]!r})"], "tar")
            yield Member(f"byte {position}", 0, 0, DAMAGED)
            return
        data = position + BLOCK
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X"):
            if info.size > min(MAX_EXTENDED, end - data):
                yield Member(f"byte {position}", 0, 0, DAMAGED)
                return
            told = file.read(info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = told.rstrip(b"\0").decode("utf-8", "backslashreplace")
            elif info.type == tarfile.XGLTYPE:
                shared |= _pax(told)
            elif info.type != tarfile.GNUTYPE_LONGLINK:
                pax = _pax(told)
            position = data + _padded(info.size)
            continue
        told_all = shared | pax
        if "size" in told_all:
            info.size = int(told_all["size"]) if told_all["size"].isdigit() else -1
        full = told_all.get("path") or name or info.name
        sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in told_all)
        if info.type == tarfile.GNUTYPE_SPARSE:
            data = _after_sparse_map(file, block, data)
        size = info.size if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES else 0
        if size < 0:
            yield Member(f"byte {position}", 0, 0, DAMAGED)
            return
        if not info.isdir() and not PurePosixPath(full).name.startswith("."):
            yield Member(full, data, size, _fault(info, full, sparse, data + size > end))
        position, name, pax = data + _padded(size), "", {}


def _header(block: bytes) -> tarfile.TarInfo | None:
    with suppress(tarfile.TarError, ValueError):
        return tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    return None


def _fault(info: tarfile.TarInfo, name: str, sparse: bool, cut: bool) -> int:
    if sparse:
        return SPARSE
    if info.issym() or info.islnk():
        return LINK
    if not info.isreg():
        return SPECIAL
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > MAX_NAME or len(path.parts) > MAX_DEPTH:
        return UNSAFE
    if cut:
        return CUT
    return -1 if split_name(name)[1] else BARE


def _after_sparse_map(file: BinaryIO, block: bytes, position: int) -> int:
    """Where the data of an old GNU sparse member begin: behind the blocks that continue its map."""
    more = block[482:483] not in (b"\0", b"")
    while more:
        file.seek(position)
        following = file.read(BLOCK)
        more = following[504:505] not in (b"\0", b"")
        position += BLOCK
    return position


def _pax(data: bytes) -> dict[str, str]:
    """The records ``length key=value`` of a pax header; what is malformed ends the list."""
    found: dict[str, str] = {}
    position = 0
    while position < len(data):
        number, space, _ = data[position : position + 20].partition(b" ")
        if not space or not number.isdigit() or int(number) <= len(number) + 1:
            break
        record = data[position + len(number) + 1 : position + int(number)]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        found[key.decode("utf-8", "backslashreplace")] = value.decode("utf-8", "backslashreplace")
        position += int(number)
    return found


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _scan(path: Path) -> np.ndarray:
    """The index as a flat int64 array: R, M, bytes of names, 0; first member of every row; (offset, size, start of the
    name) of every member; the names. Both lists have an end entry. A member with a fault has offset -1 - fault."""
    rows: dict[str, list[Member]] = {}
    for member in walk(path):
        key, field = ("\0" + member.name, "") if member.fault == DAMAGED else split_name(member.name)
        listed = rows.setdefault(key, [])
        twice = member.fault < 0 and any(split_name(other.name)[1] == field for other in listed)
        listed.append(member._replace(fault=TWICE) if twice else member)
    members = [member for listed in rows.values() for member in listed]
    names = [member.name.encode() for member in members]
    starts = np.cumsum([0, *map(len, names)])
    blob = b"".join(names)
    places = [(m.offset, m.size) if m.fault < 0 else (-1 - m.fault, -1) for m in members] + [(0, 0)]
    flat = np.concatenate(
        [
            np.array([len(rows), len(members), len(blob), 0], np.int64),
            np.cumsum([0, *map(len, rows.values())]).astype(np.int64),
            np.column_stack([np.array(places, np.int64), starts]).ravel(),
            np.frombuffer(blob + bytes(-len(blob) % 8), np.int64),
        ]
    )
    return np.concatenate([flat, np.zeros(len(flat) % 2, np.int64)])
