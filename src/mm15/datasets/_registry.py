"""The data sets that the papers name, and how each is read: ``registry.yaml``, typed and checked.

A registry entry spares a recipe the format and its options; where the files lie the recipe still says. Nothing is ever
downloaded from here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from mm15.base.catalogue import did_you_mean, lookup, names
from mm15.base.config import Strict, read_yaml, validate
from mm15.base.errors import ConfigError
from mm15.base.types import Category
from mm15.datasets._context import read_options

FILE = Path(__file__).with_name("registry.yaml")
FORMATS = "mm15.datasets"
Stage = Literal["encoder", "pretrain", "continual", "sft", "video", "ui"]


class Reading(Strict):
    """One way to read a data set."""

    adapter: str
    """A format."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The format's options."""
    files: str = ""
    """Which files of the data set, in words."""

    @field_validator("adapter")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in (known := names(FORMATS)):
            raise ValueError(f"unknown format '{value}'{did_you_mean(value, known)}; known: {', '.join(known)}")
        return value


class Dataset(Reading):
    """A data set of the papers, or an open one in its place."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str
    stages: tuple[Stage, ...] = Field(min_length=1)
    """Where it is used: MM1.5's encoder, its stages 1 to 3, and its video and UI models."""
    category: Category
    size: NonNegativeInt | None = None
    """Number of ``unit``, after conversion where the papers count so; None: not known."""
    unit: str = "samples"
    from_memory: tuple[Literal["size", "options"], ...] = ()
    """What here nobody has confirmed at the data set's home."""
    licence: str
    """What its home says, in short; ``unknown (...)``: not confirmed."""
    home: str
    """A name to look for."""
    also: tuple[Reading, ...] = ()
    """Other public forms of it."""
    splits: tuple[str, ...] = ("train",)
    papers: tuple[Literal["MM1", "MM1.5"], ...] = ()
    """Who uses it."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Share of its category's draws where the papers say it; None: in proportion to size."""
    available: bool = True
    """Whether there are public files."""
    stand_in: dict[str, float] = Field(default_factory=dict)
    """Public data sets in place of a private one, with shares that sum to 1."""
    aliases: tuple[str, ...] = ()
    confidence: Literal["sure", "likely", "memory", "ours"]
    """That the papers use it: sure, likely, memory; ours: they do not."""
    notes: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Dataset:
        if self.available == bool(self.stand_in):
            raise ValueError("a private data set needs a stand_in, a public one has none")
        if self.stand_in and abs(sum(self.stand_in.values()) - 1) > 1e-6:
            raise ValueError(f"the shares of stand_in sum to {sum(self.stand_in.values()):g}, expected 1")
        if (self.confidence == "ours") != (not self.papers):
            raise ValueError("confidence is 'ours' exactly where no paper uses the data set")
        return self

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All ways to read it, the preferred one first."""
        return (Reading(adapter=self.adapter, options=self.options, files=self.files), *self.also)


class Registry(Strict):
    """All entries, and what the papers draw of each category."""

    shares: dict[Stage, dict[Category, float]]
    datasets: tuple[Dataset, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Registry:
        called = [name for dataset in self.datasets for name in (dataset.name, *dataset.aliases)]
        twice = sorted({name for name in called if called.count(name) > 1})
        if twice:
            raise ValueError(f"used for more than one data set: {', '.join(twice)}")
        public = {dataset.name for dataset in self.datasets if dataset.available}
        lost = sorted({name for dataset in self.datasets for name in dataset.stand_in if name not in public})
        if lost:
            raise ValueError(f"stand-ins that are no public entries: {', '.join(lost)}")
        return self


@cache
def registry() -> Registry:
    """The registry that ships with the package. Raises ``ConfigError`` with every problem in the file."""
    return validate(Registry, read_yaml(FILE), where=FILE.name)


def entry_of(name: str) -> Dataset:
    """The entry of a name or alias, public or not. Raises ``ConfigError`` with the nearest name where there is none."""
    entries = {called: entry for entry in registry().datasets for called in (entry.name, *entry.aliases)}
    entry = entries.get(name.lower())
    if entry is None:
        hint = did_you_mean(name.lower(), entries)
        raise ConfigError([f"unknown data set '{name}'{hint}; all of them: mm15 data list"], "registry")
    return entry


def resolve(name: str) -> Dataset:
    """The entry that a recipe's ``dataset: name`` stands for.

    Raises:
        ConfigError: there is none (with the nearest name), or it has no public files (with what stands in for it).
    """
    entry = entry_of(name)
    if not entry.available:
        raise ConfigError([f"'{entry.name}' has no public files; in its place: {_stand_ins(entry)}"], "registry")
    return entry


def as_source(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source of a recipe with what its ``dataset:`` says filled in; what the source says itself wins.

    With another ``format`` than the entry's first, the options are those of the entry's reading in that format.

    Raises:
        ConfigError: see ``resolve``; or the data set is not known in that format.
    """
    entry = resolve(str(source["dataset"]))
    wanted = source.get("format", entry.adapter)
    reading = next((one for one in entry.readings if one.adapter == wanted), None)
    if reading is None:
        known = ", ".join(dict.fromkeys(one.adapter for one in entry.readings))
        raise ConfigError([f"'{entry.name}' is not known in format '{wanted}', but in: {known}"], "registry")
    given = source.get("options") or {}
    options = {**reading.options, **given} if isinstance(given, Mapping) else given
    return {"category": entry.category, **source, "format": wanted, "options": options}


def recipe_lines(entry: Dataset) -> list[str]:
    """How the data set comes into a recipe, in lines to read and to copy."""
    if not entry.available:
        return [f"no public files; in its place: {_stand_ins(entry)}"]
    lines = [f"from memory, look before you rely on it: {', '.join(entry.from_memory)}"] if entry.from_memory else []
    lines += ["In a recipe:", f"  - {{name: {entry.name}, dataset: {entry.name}, path: FILES}}", "which is short for:"]
    for number, reading in enumerate(entry.readings):
        if number:
            lines.append("or, in another of its public forms:")
        lines.append(f"  - name: {entry.name}")
        lines.append(f"    path: FILES{reading.files and '  # ' + reading.files}")
        lines += [f"    format: {reading.adapter}", f"    category: {entry.category}"]
        # JSON is YAML, and one line.
        lines += [f"    options: {json.dumps(reading.options, ensure_ascii=False)}"] if reading.options else []
    return lines


def _stand_ins(entry: Dataset) -> str:
    return ", ".join(f"{other} {share:.0%}" for other, share in entry.stand_in.items())


def select(category: str = "", stage: str = "") -> list[Dataset]:
    """The entries of a category and a stage, in the order of the file; empty: all.

    Raises:
        ConfigError: no such category or stage, with the nearest name.
    """
    found = list(registry().datasets)
    for given, kind, known in ((category, "category", [c.value for c in Category]), (stage, "stage", _stages())):
        if given and given not in known:
            hint = did_you_mean(given, known)
            raise ConfigError([f"unknown {kind} '{given}'{hint}; known: {', '.join(known)}"], f"--{kind}")
    return [d for d in found if (not category or d.category == category) and (not stage or stage in d.stages)]


def _stages() -> list[str]:
    return list(dict.fromkeys(stage for dataset in registry().datasets for stage in dataset.stages))


def check_options(reading: Reading) -> None:
    """Raises ``ConfigError`` with every option that the format does not have or take."""
    read_options(lookup(FORMATS, reading.adapter, "format"), reading.options)
