"""Any readable source → our sharded format: tar files that hold samples as JSON and the bytes of their media.

Shard k holds what became of rows k*S to (k+1)*S - 1 of the source: the layout is WebDataset's, the content that of
``datasets.mm15_wds``, which gives the same samples back. The same rows give the same bytes, whoever works and in what
order. A shard that is finished is kept: the same command goes on where it was interrupted. Rows that cannot be used are
left out and named.

``<out>/<source>/000000.tar ...``, ``<out>/<source>/index.json`` and ``<out>/sources.yaml``, by which the folder can be
checked, viewed and named in a recipe.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mm15.base.errors import ConfigError, SkipBudgetExceeded, SkipSample
from mm15.base.types import MediaRef, Sample
from mm15.data.clean import folder_names
from mm15.data.costs import stamp_of_files
from mm15.data.examine import read_samples, reason_of
from mm15.data.faults import Fault, fault
from mm15.data.source import Source
from mm15.datasets._canonical import sample_to_json
from mm15.datasets.mm15_wds import INDEX
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.io.atomic import open_atomic, write_atomic
from mm15.io.media import read_bytes
from mm15.io.tar import TarRows

VERSION = 1
SHARD_ROWS = 1000
MAX_BYTES = 4 << 30
"""Of one medium."""
ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pdf", "mp4", "webm", "mkv", "avi", "mov")
MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"%PDF", "pdf"),
)


@dataclass(slots=True)
class Converted:
    """What became of a source."""

    name: str
    rows: int
    shards: int
    kept: int = 0
    """Shards that were there already."""
    samples: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)


class _Task(NamedTuple):
    source: int
    number: int
    rows: range
    folder: str
    asked: str


def convert(
    sources: Sequence[Source],
    out: Path,
    shard_rows: int = SHARD_ROWS,
    max_bad: float | None = None,
    engine: Engine = ALL_CORES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Converted]:
    """Write the sources as shards; shards of the same rows that are there already are kept.

    Args:
        sources: what is converted.
        out: the folder for all of them.
        shard_rows: rows of the source in one shard.
        max_bad: share of a source's rows that may be unusable; None: what its recipe says.
        engine: who works.
        progress: told (rows done, rows in all).

    Raises:
        ConfigError: ``out`` holds shards of something else.
        SkipBudgetExceeded: too many rows of a source cannot be used; names the first.
        ChunkError: a shard could not be written; names its rows.
    """
    if shard_rows < 1:
        raise ConfigError([f"a shard needs at least one row, found {shard_rows}"], "--shard-rows")
    folders = [out / name for name in folder_names(sources)]
    asked = [_asked(source, shard_rows) for source in sources]
    problems = [problem for folder, one in zip(folders, asked, strict=True) if (problem := _mismatch(folder, one))]
    if problems:
        raise ConfigError(problems, str(out))
    done, tasks = [], []
    for number, (source, folder) in enumerate(zip(sources, folders, strict=True)):
        folder.mkdir(parents=True, exist_ok=True)
        rows = len(source.rows)
        starts = range(0, rows, shard_rows)
        done.append(Converted(source.name, rows, len(starts)))
        tasks += [
            _Task(number, k, range(start, min(start + shard_rows, rows)), str(folder), asked[number])
            for k, start in enumerate(starts)
        ]
    records: list[list[dict[str, Any]]] = [[] for _ in sources]
    total, read = sum(one.rows for one in done), 0
    written = map_ordered(partial(_write_shard, list(sources)), tasks, engine, lambda task: _name(sources, task))
    for task, (record, kept) in zip(tasks, written, strict=True):
        one = done[task.source]
        records[task.source].append(record)
        one.kept += kept
        one.samples += record["samples"]
        one.bytes += record["bytes"]
        one.faults += [fault(one.name, address, reason) for address, reason in record["skipped"]]
        _check_rate(sources[task.source], one, max_bad)
        read += len(task.rows)
        if progress:
            progress(read, total)
    for source, folder, listed in zip(sources, folders, records, strict=True):
        _write_index(source, folder, listed)
    _write_sources(sources, folders, out)
    return done


def _name(sources: Sequence[Source], task: _Task) -> str:
    rows = sources[task.source].rows
    return f"{sources[task.source].name}, shard {task.number} from {rows.address(task.rows.start)}"


def _asked(source: Source, shard_rows: int) -> str:
    """Changes when the shards would: with the files, what the recipe says of them, and the size of a shard."""
    config = source.config
    store = config.store.model_dump() if config.store else None
    about = (VERSION, shard_rows, config.name, config.format, config.category.value, config.root, config.options, store)
    stamp = stamp_of_files(source.files)
    return hashlib.sha256(repr((about, stamp)).encode()).hexdigest()


def _mismatch(folder: Path, asked: str) -> str:
    for record in sorted(folder.glob("*.stamp")):
        if json.loads(record.read_bytes()).get("asked") != asked:
            return f"{folder} holds shards of other files, options or shard size; name a new folder, or remove it"
    others = [file for file in folder.glob("*.tar") if not _record(file).is_file()]
    return f"{others[0]} is no shard of ours; name another folder" if others else ""


def _record(shard: Path) -> Path:
    return shard.with_name(f"{shard.name}.stamp")


def _check_rate(source: Source, one: Converted, max_bad: float | None) -> None:
    rate = source.config.max_skip_rate if max_bad is None else max_bad
    if len(one.faults) > rate * one.rows + 1e-9:
        first = "\n".join(f"  - {found}" for found in one.faults[:5])
        raise SkipBudgetExceeded(
            f"source '{one.name}': {len(one.faults)} of {one.rows} rows cannot be used, more than {rate:.4g} of all. "
            f"See them with mm15 data check; repair the source, or allow more: --max-bad RATE. The first:\n{first}"
        )


def _write_shard(sources: Sequence[Source], task: _Task) -> tuple[dict[str, Any], bool]:
    """Write a shard and its record, or find them there; (record, was there)."""
    shard = Path(task.folder) / f"{task.number:06}.tar"
    kept = _kept(shard, task.asked)
    if kept is not None:
        return kept, True
    source = sources[task.source]
    digest, counts, skipped = hashlib.sha256(), [], []
    with open_atomic(shard) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in task.rows:
            address = source.rows.address(row)
            samples, reason = read_samples(source, row)
            members: list[tuple[str, bytes]] = []
            try:
                members = [] if reason else _members(samples)
            except SkipSample as skip:
                reason = reason_of(skip, address)
            if reason:
                skipped.append((address, reason))
                continue
            counts.append(len(samples))
            for name, data in members:
                info = tarfile.TarInfo(f"{row:09}.{name}")
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
    with shard.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    record = {
        "asked": task.asked,
        "file": shard.name,
        "rows": len(counts),
        "samples": sum(counts),
        "samples_per_row": None if set(counts) <= {1} else counts,
        "bytes": shard.stat().st_size,
        "sha256": digest.hexdigest(),
        "skipped": skipped,
    }
    TarRows(shard)  # Makes its sidecar, here and not when all of it is opened.
    write_atomic(_record(shard), json.dumps(record))
    return record, False


def _kept(shard: Path, asked: str) -> dict[str, Any] | None:
    try:
        record = json.loads(_record(shard).read_bytes())
        return record if record["asked"] == asked and shard.stat().st_size == record["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None


def _members(samples: Sequence[Sample]) -> list[tuple[str, bytes]]:
    """(name, bytes) of the media of a row's samples, each once, and last of their JSON."""
    data_of: dict[str, bytes] = {}
    names: dict[MediaRef, str] = {}

    def name(media: MediaRef) -> str:
        plain = MediaRef(media.path, media.member, media.offset, media.size, data=media.data)
        if plain not in names:
            data = _read(media)
            names[plain] = f"{len(names)}.{_ending(media, data)}"
            data_of[names[plain]] = data
        return names[plain]

    told = {"samples": [sample_to_json(sample, name) for sample in samples]}
    try:
        written = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise SkipSample(f"the text has half a surrogate pair: {error}") from error
    return [*data_of.items(), ("json", written)]


def _read(media: MediaRef) -> bytes:
    """The bytes of a medium; of a folder of frames a tar of its files."""
    path = Path(media.path)
    if not media.path or media.member or not path.is_dir():
        return read_bytes(media, max_bytes=MAX_BYTES)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(entry for entry in path.iterdir() if entry.is_file()):
            data = read_bytes(MediaRef(str(file)), max_bytes=MAX_BYTES)
            info = tarfile.TarInfo(file.name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _ending(media: MediaRef, data: bytes) -> str:
    path = Path(media.path)
    if media.path and not media.member and path.is_dir():
        return "frames.tar"
    suffix = Path(media.member or media.path).suffix.lower().lstrip(".")
    if suffix in ENDINGS:
        return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((ending for magic, ending in MAGIC if data.startswith(magic)), "bin")


def _write_index(source: Source, folder: Path, records: Sequence[dict[str, Any]]) -> None:
    config = source.config
    index = {
        "format": "mm15-wds",
        "version": VERSION,
        "source": config.name,
        "category": config.category.value,
        "from": config.format,
        "rows": sum(record["rows"] for record in records),
        "samples": sum(record["samples"] for record in records),
        "shards": [
            {name: value for name, value in record.items() if name not in ("asked", "skipped")} for record in records
        ],
    }
    write_atomic(folder / INDEX, json.dumps(index, indent=1))


def _write_sources(sources: Sequence[Source], folders: Sequence[Path], out: Path) -> None:
    listed = []
    for source, folder in zip(sources, folders, strict=True):
        about = source.config.model_dump(mode="json", include={"weight", "max_epochs", "max_skip_rate"})
        listed.append(
            {
                "name": source.name,
                "path": f"{folder.name}/*.tar",
                "format": "mm15-wds",
                "category": source.config.category.value,
                **{name: value for name, value in about.items() if value is not None},
            }
        )
    write_atomic(out / "sources.yaml", yaml.safe_dump(listed, sort_keys=False, allow_unicode=True))
