"""New captions for a set of pictures by a bundle: by one or many workers, resumable, then balanced by concept.

MM1.5's appendix ("Own captioner"; second-hand, docs/CAPTIONS.md): a 3B model of the MM1 kind, tuned first on synthetic
captions and then on about 8 thousand human ones of a paragraph (about 70 tokens), captioned 290 million web pictures
(512 to 1024 px); filtering by concept left 7 million. Here: ``recipes/captioner-mini.yaml``,
``captioner-human-mini.yaml``, then ``recaption``. The folder it fills::

    recaption.json        what was asked for; another bundle, prompt or set of pictures is refused
    raw-0-of-1.jsonl      {"n": 0, "key": "a/1.jpg", "caption": "...", "stop": "stop", "width": 640, "height": 480} or
                          {"n": 1, "key": "a/2.jpg", "error": "..."}: appended chunk by chunk, never written twice
    captions.jsonl        what is left after cleaning and balance, as llava caption rows
    images/, sources.yaml pictures that are no files of a folder, and how to read the rows
    report.json           counts

The workers of an engine, each with a model of its own, caption chunks of pictures; who works changes no byte. Machines
without a common engine share a set by parts (``part=(i, k)``): each captions pictures i, i + k, ... into a raw file of
its own; the one that finds all parts finished writes the rest.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mm15.base.errors import BundleError, ConfigError, DataError, SkipSample
from mm15.bundle import MANIFEST, Bundle
from mm15.curate.balance import Balanced, balance
from mm15.curate.captioner import Asking, caption, set_up
from mm15.curate.pictures import Pictures, copy_picture
from mm15.dist.map import Engine, map_ordered
from mm15.generate.engine import LENGTH
from mm15.io.atomic import open_atomic, write_atomic

ASKED, CAPTIONS, REPORT, SOURCES, IMAGES = "recaption.json", "captions.jsonl", "report.json", "sources.yaml", "images"
CHUNK = 32
ALONE = Engine(workers=1)
REPEATS = 3
"""A run of four words said so often makes a caption that goes round in circles."""


@dataclass(frozen=True, slots=True)
class Settings(Asking):
    """How captions are made and chosen. ``max_bad`` is the share of pictures that may be unusable."""

    per_concept: float = 0
    keep: int = 0
    concepts: Sequence[str] | None = None
    keep_cut: bool = False
    """Captions that ``max_new_tokens`` cut off stay."""
    max_bad: float = 0.01
    part: tuple[int, int] = (0, 1)
    chunk: int = CHUNK
    """Pictures that a worker captions before they are written down."""
    limit: int = 0
    """Only the first so many pictures; 0: all."""


@dataclass(frozen=True, slots=True)
class Recaptioned:
    """What came of it. ``finished`` is False while parts of the set are without captions."""

    folder: str
    pictures: int
    captioned: int
    finished: bool
    unreadable: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Why captions were left out → how many."""
    kept: int = 0
    balance: str = ""

    def text(self) -> str:
        """The same for people, and what to do next."""
        lines = [f"{self.captioned:,} of {self.pictures:,} pictures captioned, {self.unreadable:,} unusable"]
        if not self.finished:
            return f"{lines[0]}; other parts are not finished: the last of them writes {self.folder}/{CAPTIONS}"
        lines += [f"  left out, {why}: {count:,}" for why, count in self.dropped.items()]
        lines += [
            self.balance,
            f"{self.folder}/{CAPTIONS}: {self.kept:,} captions. Next: mm15 data check {self.folder}",
        ]
        return "\n".join(lines)


def recaption(
    load: Callable[[], Bundle],
    digest: str,
    pictures: Pictures,
    out: Path,
    settings: Settings,
    engine: Engine = ALONE,
    progress: Callable[[str], None] | None = None,
) -> Recaptioned:
    """Caption a set of pictures; the same call goes on where an earlier one stopped.

    Args:
        load: gives the bundle, in every worker; can be pickled where the engine is more than this process.
        digest: of the bundle, see ``digest_of``.
        out: the folder to fill.
        engine: who works; each worker holds a model.
        progress: called with a line of text after every chunk.

    Raises:
        ConfigError: settings out of range, or ``out`` holds captions of another bundle, prompt or set.
        DataError: more than ``max_bad`` of the pictures cannot be used.
        ChunkError: the bundle cannot be loaded, or a worker died.
    """
    count = min(len(pictures), settings.limit) if settings.limit else len(pictures)
    _check(settings, count)
    _check_asked(out, digest, pictures, count, settings)
    own, parts = settings.part
    raw = _raw(out, own, parts)
    done = _finish_line(raw)
    numbers = [number for number in range(own, count, parts) if number not in done]
    total, bad = len(range(own, count, parts)), sum(done.values())
    earlier, start = len(done), time.perf_counter()
    chunks = (numbers[start : start + settings.chunk] for start in range(0, len(numbers), settings.chunk))
    work, ready = partial(caption, pictures, settings), partial(set_up, load, _threads(engine))
    with (
        raw.open("a", encoding="utf-8") as file,
        closing(map_ordered(work, chunks, engine, _name, set_up=ready)) as captioned,
    ):
        for rows in captioned:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
            done |= {row["n"]: "error" in row for row in rows}
            bad += sum("error" in row for row in rows)
            if bad > settings.max_bad * total:
                first = "\n".join(f"  - {row['key']}: {row['error']}" for row in _rows(out, parts) if "error" in row)
                raise DataError(
                    f"{bad} of {total} pictures cannot be used, more than {settings.max_bad:.1%} (max_bad). "
                    f"Repair or remove them, or raise it; captions made so far are kept in {raw}:\n{first[:2000]}"
                )
            if progress:
                progress(_progress(len(done), total, len(done) - earlier, time.perf_counter() - start))
    finished = sum(1 for _ in _rows(out, parts)) == count
    if not finished:
        return Recaptioned(str(out), count, len(done), False, bad)
    return _choose(pictures, out, settings, count)


def _threads(engine: Engine) -> int:
    """Of torch, in a worker: its share of the cores. 0 where that is set: in this process, and by Ray."""
    return 0 if engine.here or engine.kind == "ray" else max(1, (os.cpu_count() or 1) // engine.processes)


def _name(numbers: Sequence[int]) -> str:
    return f"pictures {numbers[0]} to {numbers[-1]}"


def parse_part(text: str) -> tuple[int, int]:
    """``I/K`` as two numbers.

    Raises:
        ConfigError: it is none.
    """
    own, _, parts = text.partition("/")
    if not (own.isdecimal() and parts.isdecimal()):
        raise ConfigError([f"expected I/K, e.g. 0/8, found '{text}'"], "--part")
    return int(own), int(parts)


def _progress(done: int, total: int, fresh: int, seconds: float) -> str:
    rate = fresh / max(seconds, 1e-9)
    return f"{done:,} of {total:,} pictures, {rate:.1f} a second, {(total - done) / max(rate, 1e-9):,.0f} s to go"


def digest_of(bundle: Path) -> str:
    """What a bundle holds, by the hashes that its manifest states.

    Raises:
        BundleError: there is none.
    """
    for file in (bundle / MANIFEST, bundle / "bundle" / MANIFEST):
        if file.is_file():
            return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    raise BundleError(f"{bundle}: no {MANIFEST} in it; give a bundle, or a run folder with a finished one")


def defect(row: dict[str, Any], keep_cut: bool = False) -> str:
    """Why a caption is of no use; empty for a good one."""
    words = row["caption"].lower().split()
    if not words:
        return "empty"
    runs = Counter(tuple(words[k : k + 4]) for k in range(len(words) - 3))
    if runs and max(runs.values()) >= REPEATS:
        return "repeats itself"
    if row["stop"] == LENGTH and not keep_cut:
        return "cut off"
    return ""


def _choose(pictures: Pictures, out: Path, settings: Settings, count: int) -> Recaptioned:
    """Clean, balance, and write the set."""
    parts = settings.part[1]
    dropped: Counter[str] = Counter()
    unreadable = 0
    for row in _rows(out, parts):
        if "error" in row:
            unreadable += 1
        elif why := defect(row, settings.keep_cut):
            dropped[why] += 1

    def good() -> Iterable[tuple[str, str]]:
        return ((str(row["n"]), row["caption"]) for row in _good(out, parts, settings.keep_cut))

    chosen: Balanced = balance(good, settings.per_concept, settings.keep, settings.concepts, settings.seed)
    dropped["over a concept's limit, or of no concept"] = chosen.total - len(chosen.kept)
    wanted = set(chosen.kept)
    shutil.rmtree(out / IMAGES, ignore_errors=True)
    if pictures.folder is None:
        (out / IMAGES).mkdir()
    kept = 0
    with open_atomic(out / CAPTIONS) as file:
        for place, row in enumerate(_good(out, parts, settings.keep_cut)):
            if place not in wanted:
                continue
            name = row["key"]
            if pictures.folder is None:
                try:
                    media, stem = pictures.picture(row["n"]).media, format(row["n"], "09d")
                    name = f"{IMAGES}/{copy_picture(media, out / IMAGES, stem)}"
                except SkipSample:
                    dropped["not a picture file by itself"] += 1
                    continue
            file.write(json.dumps(_llava(row, name), ensure_ascii=False).encode() + b"\n")
            kept += 1
    _write_sources(pictures, out)
    made = Recaptioned(str(out), count, count - unreadable, True, unreadable, dict(+dropped), kept, chosen.text())
    write_atomic(out / REPORT, json.dumps(asdict(made), indent=1, ensure_ascii=False))
    return made


def _llava(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "id": row["key"],
        "image": name,
        "width": row["width"],
        "height": row["height"],
        "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": row["caption"]}],
    }


def _write_sources(pictures: Pictures, out: Path) -> None:
    entry: dict[str, Any] = {"name": "recaptioned", "path": CAPTIONS, "format": "llava", "category": "caption"}
    if pictures.folder is not None:
        entry["root"] = os.path.relpath(pictures.folder, out)
    head = "# Sources of this folder; paths start from it. A recipe takes them with extends: or by copying.\n"
    write_atomic(out / SOURCES, head + yaml.safe_dump({"sources": [entry]}, sort_keys=False, allow_unicode=True))


def _raw(out: Path, own: int, parts: int) -> Path:
    return out / f"raw-{own}-of-{parts}.jsonl"


def _rows(out: Path, parts: int) -> Iterator[dict[str, Any]]:
    """Rows of all parts that are there."""
    for own in range(parts):
        file = _raw(out, own, parts)
        if file.is_file():
            with file.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)


def _made(file: Path) -> Iterator[dict[str, Any]]:
    """Captions of a part; those of a part are in the order of their numbers."""
    with file.open(encoding="utf-8") as lines:
        yield from (row for row in map(json.loads, lines) if "error" not in row)


def _good(out: Path, parts: int, keep_cut: bool) -> Iterator[dict[str, Any]]:
    """Good captions in the order of their numbers, however many parts made them."""
    made = (_made(_raw(out, own, parts)) for own in range(parts))
    rows = heapq.merge(*made, key=lambda row: row["n"])
    return (row for row in rows if not defect(row, keep_cut))


def _finish_line(raw: Path) -> dict[int, bool]:
    """Number → failed, of the rows that are there; half a line that a killed run left is cut off."""
    done: dict[int, bool] = {}
    if not raw.is_file():
        return done
    whole = 0
    with raw.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            done[row["n"]] = "error" in row
            whole += len(line)
        file.truncate(whole)
    return done


def _check(settings: Settings, count: int) -> None:
    own, parts = settings.part
    told = [
        (settings.max_new_tokens < 1, f"max_new_tokens must be 1 or more, found {settings.max_new_tokens}"),
        (settings.temperature < 0, f"temperature must be 0 or more, found {settings.temperature}"),
        (settings.chunk < 1, f"chunk must be 1 or more, found {settings.chunk}"),
        (settings.limit < 0, f"limit must be 0 or more, found {settings.limit}"),
        (not 0 <= settings.max_bad <= 1, f"max_bad is a share from 0 to 1, found {settings.max_bad}"),
        (not 0 <= own < parts, f"part must be I/K with I from 0 to K - 1, found {own}/{parts}"),
        (settings.per_concept < 0 or settings.keep < 0, "per_concept and keep must be 0 or more"),
        (bool(settings.per_concept and settings.keep), "give per_concept or keep, not both"),
        (count == 0, "there is no picture"),
    ]
    if problems := [text for wrong, text in told if wrong]:
        raise ConfigError(problems, "recaption")


def _check_asked(out: Path, digest: str, pictures: Pictures, count: int, settings: Settings) -> None:
    """Note what this folder is for, or refuse to mix it with something else."""
    asked = {
        "bundle": digest,
        "pictures": pictures.describe(),
        "count": count,
        "prompt": settings.prompt,
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "parts": settings.part[1],
    }
    file = out / ASKED
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [
            f"{name}: {before.get(name)!r}, now {value!r}" for name, value in asked.items() if before.get(name) != value
        ]
        if changed:
            raise ConfigError([*changed, f"{out} holds captions made otherwise; give another --out"], str(file))
    else:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError([f"{out} holds something else; give a new folder"], "--out")
        write_atomic(file, json.dumps(asked, indent=1))
