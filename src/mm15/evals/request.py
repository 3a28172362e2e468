"""What an evaluation is asked to do, and the items that this gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm15.base.config import with_changes
from mm15.base.errors import ConfigError, DataError
from mm15.evals.benchmark import SUITES, find, known
from mm15.evals.categories import check_readings
from mm15.evals.fixed import state_of
from mm15.evals.items import Item


@dataclass(frozen=True, slots=True)
class Request:
    """What an evaluation is of: equal requests give equal answers.

    Args:
        folder: where the files of the benchmarks lie.
        benchmarks: names; none runs those of ``suite`` whose files are there.
        suite: a suite, or a category of the paper's.
        limit: at most so many questions per benchmark.
        partial: allow files with fewer rows than the official ones.
        changes: ``benchmark.option=value``.
        readings: category → reading of its score (``categories``).
    """

    folder: str
    benchmarks: tuple[str, ...] = ()
    suite: str = "mini"
    limit: int | None = None
    partial: bool = False
    changes: tuple[str, ...] = ()
    readings: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> dict[str, list[Item]]:
        """The items of every benchmark that is asked for and there, by name.

        Raises:
            ConfigError: an unknown benchmark, suite, option or reading.
            DataError: files that are not what they should be, those of all benchmarks together; a named benchmark
                without files; or no files at all.
        """
        wanted = [find(name) for name in self.names]
        if self.readings:
            check_readings(self.readings, self.family)
        options = with_changes({}, self.changes)
        names = {benchmark.name for benchmark in wanted}
        unknown = [name for name in options if name not in names]
        if unknown:
            told = f"{', '.join(unknown)}: not evaluated here; --set starts with one of: {', '.join(sorted(names))}"
            raise ConfigError([told], "--set")
        items, absent, problems = {}, [], []
        for benchmark in wanted:
            files = benchmark.open(self.folder, self.partial, options.get(benchmark.name))
            if not files.there(benchmark.file):
                absent.append(f"{benchmark.name} (expected {files.place(benchmark.file)})")
                continue
            try:
                items[benchmark.name] = benchmark.read(files)[: self.limit]
            except DataError as error:
                problems.append(str(error))
        if absent and (self.benchmarks or not (items or problems)):
            problems.append("no files for: " + "; ".join(absent) + ". Get or build them, or name other benchmarks")
        if problems:
            raise DataError("\n".join(problems))
        return items

    def fixed(self, names: Iterable[str]) -> dict[str, str]:
        """Benchmark → whether its file is the fixed one, of those among ``names`` that are of the mini suite."""
        mini = [find(name) for name in names if find(name).suite == "mini"]
        return {benchmark.name: state_of(Path(self.folder, benchmark.file)) for benchmark in mini}

    @property
    def names(self) -> list[str]:
        """The benchmarks that are asked for."""
        return list(dict.fromkeys(self.benchmarks or known(self.suite)))

    @property
    def shortened(self) -> bool:
        """Whether fewer questions may be asked than the official ones."""
        return self.partial or self.limit is not None

    @property
    def family(self) -> str:
        """The suite that the benchmarks belong to; a category is a part of the paper's."""
        return self.suite if self.suite in SUITES else "paper"

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Request:
        """From what ``dataclasses.asdict`` gave, after JSON; other fields are passed over."""
        given: dict[str, Any] = {name: told[name] for name in cls.__dataclass_fields__}
        return cls(**{**given, "benchmarks": tuple(given["benchmarks"]), "changes": tuple(given["changes"])})
