"""What the builders of ``mm15.build.sets`` are given and give: data files, ``sources.yaml``, and what was dropped.

A folder holds the training side; held-out material, if asked for, lies in ``heldout/`` with a ``sources.yaml`` of its
own, so that who names the folder never trains on it. ``sources.yaml`` is a mapping ``{sources: [...]}`` of a recipe's
entries (a recipe takes it with ``extends:``), ``dropped.jsonl`` names everything that was left out, ``build.json`` says
what was asked for and what came of it. The same command gives the same bytes, whoever works.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from mm15.base.catalogue import did_you_mean, lookup
from mm15.base.errors import ConfigError, DataError
from mm15.base.rng import seed_of
from mm15.build._inputs import Found, find_files, one_side, take_files
from mm15.build._sources import read_sources, write_sources
from mm15.build.materials import Materials, Split
from mm15.dist.map import ALL_CORES, Engine, map_ordered
from mm15.io.atomic import atomic_folder

PACKAGE = "mm15.build.sets"
CHUNK = 8
"""Tasks that a process takes at once."""
SIZES = (64, 4096)
"""Smallest and largest longest side of a picture that may be asked for, in pixels."""

HELD_OUT = "held out by its name, as shipped held-out material is cut from it; to use it, ask for --heldout"

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a builder.

    ``inputs`` are files and folders (none: the shipped material), ``n`` rows of each data set, ``heldout`` the share of
    the material that training does not see, ``formats`` what is written (none: everything), ``size`` the longest side
    of pictures in pixels. 0 is the builder's own choice for ``n`` and ``size``. Nodes of a cluster see the inputs and
    the folder that is built under the same paths.
    """

    inputs: tuple[Path, ...] = ()
    n: int = 0
    seed: int = 0
    heldout: float = 0.0
    formats: tuple[str, ...] = ()
    size: int = 0
    engine: Engine = ALL_CORES


@dataclass(slots=True)
class Side:
    """One side of a data set while it is built: where it goes, what it is made from, and what came of it."""

    out: Path
    split: Split
    request: Request
    materials: Materials = field(default_factory=Materials)
    sources: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """(reason, address)."""
    taken: list[str] = field(default_factory=list)
    """Input files of this side."""

    @property
    def n(self) -> int:
        """Rows of each data set on this side."""
        asked = self.request.n
        return asked if self.split == "train" else max(1, round(asked * self.request.heldout))

    @property
    def seed(self) -> int:
        """Seed of this side: the two sides never draw alike."""
        return seed_of(self.request.seed, self.split)

    def wants(self, form: str) -> bool:
        """Whether this format is asked for."""
        return form in self.request.formats

    def files(
        self,
        *suffixes: str,
        known: Callable[[str], Split | None] | None = None,
        fault: Callable[[Path], str] = lambda path: "",
    ) -> list[Found]:
        """Input files of this side; files of equal bytes count once.

        Args:
            known: the side of a file by its name, where that is settled. What is held out is dropped where there is no
                held-out side.
            fault: why a file cannot be used at all, empty where it can. Such files are on neither side, so that a side
                is not made of them alone.

        Raises:
            ConfigError: the inputs hold no such file.
        """
        listed, dropped = take_files(self.request.inputs, suffixes)
        faults = {file.digest: fault(file.path) for file in listed}
        dropped += [(faults[file.digest], str(file.path)) for file in listed if faults[file.digest]]
        found = [file for file in listed if not faults[file.digest]]
        if self.split == "train":
            self.drop_all(dropped)
            if known and not self.request.heldout:
                self.drop_all((HELD_OUT, str(file.path)) for file in found if known(file.name) == "heldout")
        if not found:
            raise DataError(
                "\n".join(["no file of the inputs can be used:", *(f"  - {at}: {why}" for why, at in dropped)])
            )
        chosen = one_side(found, self.request.heldout, self.split, known)
        self.taken += [str(file.path) for file in chosen]
        return chosen

    def drop(self, reason: str, address: str) -> None:
        """Count something that is left out."""
        self.dropped.append((reason, address))

    def drop_all(self, dropped: Iterable[tuple[str, str]]) -> None:
        """Count several things that are left out, each as (reason, address)."""
        self.dropped += dropped

    def each(self, work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT]) -> Iterator[ResultT]:
        """``work`` of every task, in order, by several workers. ``work`` must be picklable and depend on its task
        alone."""
        return in_order(work, tasks, self.request.engine)

    def add(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]] | int,
        format: str,
        category: str,
        path: str = "",
        options: Mapping[str, Any] | None = None,
        root: str | None = None,
    ) -> None:
        """Make a data set a source, and write its rows to ``<name>.jsonl`` unless they are already written.

        Args:
            rows: the rows, or the number of rows that already lie at ``path``. None at all: no source, but counted.
        """
        self.rows[name] = rows if isinstance(rows, int) else len(rows)
        if not self.rows[name]:
            return
        if not isinstance(rows, int):
            path = f"{name}.jsonl"
            with (self.out / path).open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in rows)
        source: dict[str, Any] = {"name": name, "path": path, "format": format, "category": category}
        if options:
            source["options"] = dict(options)
        if root is not None:
            source["root"] = root
        self.sources.append(source)

    def adopt(self, rows: Mapping[str, int]) -> None:
        """Make a source of everything that is listed in this side's ``sources.yaml`` already.

        Args:
            rows: of every data set; those without rows are no sources, but counted.
        """
        self.rows |= rows
        for entry in read_sources(self.out):
            name, form, options = entry["name"], entry["format"], entry.get("options")
            self.add(name, rows[name], form, entry["category"], entry["path"], options)

    def report(self) -> dict[str, Any]:
        """What came of it, for ``build.json``."""
        counted = Counter(reason for reason, _ in self.dropped)
        first = dict(reversed(self.dropped))
        dropped = {reason: {"count": count, "first": first[reason]} for reason, count in sorted(counted.items())}
        return {"split": self.split, "rows": self.rows, "dropped": dropped}


def build_set(name: str, out: Path, request: Request) -> dict[str, Any]:
    """Build data sets into a new folder. A folder that this very request has filled before is kept.

    Returns:
        The content of ``build.json``.

    Raises:
        ConfigError: an unknown builder, format or input, a number out of range, or a folder that holds something else.
        DataError: not one row could be made.
    """
    builder = lookup(PACKAGE, name, "builder")
    request = _checked(builder, request)
    asked = {
        "builder": name,
        "inputs": [str(path) for path in request.inputs],
        "content": _content(request.inputs),
        "n": request.n,
        "seed": request.seed,
        "heldout": request.heldout,
        "formats": list(request.formats),
        "size": request.size,
    }
    done = out / "build.json"
    if done.is_file():
        kept = json.loads(done.read_text(encoding="utf-8"))
        if kept.get("asked") != asked:
            raise ConfigError(
                [f"{out} was built with {kept.get('asked')}, now {asked} is asked; give another folder"], "--out"
            )
        return kept
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError([f"{out} holds something that was not built here; give a new folder"], "--out")
    sides: list[Side] = []
    with atomic_folder(out, durable=False) as draft:
        splits: tuple[Split, ...] = ("train", "heldout") if request.heldout else ("train",)
        for split in splits:
            folder = draft if split == "train" else draft / "heldout"
            folder.mkdir(exist_ok=True)
            side = Side(folder, split, request)
            builder.build(side)
            if not side.sources:
                raise DataError(_nothing(side))
            write_sources(folder, side.sources)
            sides.append(side)
        lines = [
            json.dumps({"split": side.split, "reason": reason, "address": address}) + "\n"
            for side in sides
            for reason, address in side.dropped
        ]
        (draft / "dropped.jsonl").write_text("".join(lines), encoding="utf-8")
        report = {"asked": asked, "sides": [side.report() for side in sides]}
        (draft / "build.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def told(report: dict[str, Any], out: Path) -> list[str]:
    """A report for people: rows of every data set, what was dropped and why, what to do next."""
    lines = []
    for side in report["sides"]:
        lines += [f"{side['split']:<8} {name:<22} {count:>7} rows" for name, count in side["rows"].items()]
    for side in report["sides"]:
        for reason, about in side["dropped"].items():
            lines.append(f"dropped  {about['count']:>7} x {reason} ({side['split']}), e.g. {about['first']}")
    if any(side["dropped"] for side in report["sides"]):
        lines.append(f"All that was dropped: {out}/dropped.jsonl")
    return [*lines, f"Next: mm15 data check {out} && mm15 data view {out}"]


def _checked(builder: ModuleType, request: Request) -> Request:
    """The request with the builder's own choices filled in, every problem reported at once."""
    problems = []
    for path in request.inputs:
        if not path.exists():
            problems.append(f"--input: no such file or folder: {path}")
    for form in request.formats:
        if form not in builder.FORMATS:
            known = ", ".join(builder.FORMATS)
            problems.append(f"--format: unknown '{form}'{did_you_mean(form, builder.FORMATS)}; known: {known}")
    if request.n < 0:
        problems.append(f"--n: rows of each data set must be 1 or more, found {request.n}")
    if not 0 <= request.heldout < 1:
        problems.append(f"--heldout: a share from 0 up to but not 1, found {request.heldout}")
    if request.size and not SIZES[0] <= request.size <= SIZES[1]:
        problems.append(f"--size: {SIZES[0]} to {SIZES[1]} pixels, found {request.size}")
    if problems:
        raise ConfigError(problems, "mm15 data build")
    formats = tuple(form for form in builder.FORMATS if not request.formats or form in request.formats)
    return replace(request, n=request.n or builder.N, size=request.size or builder.SIZE, formats=formats)


def _content(inputs: Sequence[Path]) -> str:
    """Changes when files come, go or change their size."""
    listed = [(name, path.stat().st_size) for path, name in find_files(inputs, ("",))]
    return hashlib.sha256(repr(listed).encode()).hexdigest()[:16]


def _nothing(side: Side) -> str:
    counted = Counter(reason for reason, _ in side.dropped)
    told = "\n".join(
        f"  - {reason}: {count}, e.g. {next(at for why, at in side.dropped if why == reason)}"
        for reason, count in counted.most_common(5)
    )
    lines = ["not one row could be made of the inputs"]
    if side.request.heldout:
        files = ", ".join(side.taken[:3]) + (f" and {len(side.taken) - 3} more" if len(side.taken) > 3 else "")
        lines = [f"not one row could be made for the {side.split} side, which has {files or 'no file'} of the inputs"]
    if told:
        lines += ["dropped:", told]
    if side.request.heldout:
        lines.append("Give more files to --input, or another share to --heldout (0 holds nothing out).")
    return "\n".join(lines)


class _Tasks(NamedTuple, Generic[TaskT]):
    start: int
    tasks: Sequence[TaskT]


def in_order(work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], engine: Engine) -> Iterator[ResultT]:
    """Results in the order of the tasks; with one worker, or few tasks, in this process."""
    if engine.here or len(tasks) <= CHUNK:
        yield from map(work, tasks)
        return
    chunks = (_Tasks(start, tasks[start : start + CHUNK]) for start in range(0, len(tasks), CHUNK))
    # A forked worker inherits the materials that are already read.
    for results in map_ordered(partial(_several, work), chunks, engine, _name, fork=True):
        yield from results


def _several(work: Callable[[TaskT], ResultT], chunk: _Tasks[TaskT]) -> list[ResultT]:
    return list(map(work, chunk.tasks))


def _name(chunk: _Tasks[Any]) -> str:
    return f"tasks {chunk.start} to {chunk.start + len(chunk.tasks) - 1}"
