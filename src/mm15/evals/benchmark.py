"""What a benchmark is: a module in ``evals/benchmarks`` that says what is asked, what is right, and how it is scored.

    NAME, SUITE, CATEGORY     its name, the suite and the category it belongs to
    METRIC                    the one reported number it is known by, a key of what ``combine`` gives
    SPLIT                     the split of the official data it reads
    MAX_NEW_TOKENS            the longest answer
    CHECKS                    (answer, right answer, primary per-item value) or (answer, item, value): a house test runs
                              them
    read(files)               the items, from the official files as users have them (``files.Files``)
    score(answer, item)       metric → value of one item, 0..1

What is left out has a default:

    Options                   what a user may set (``--set NAME.key=value``), a ``Strict``; ``read`` has it in ``files``
    score_all(answers, items) metric → value for every item, where they depend on each other (CIDEr, pairs of questions)
    combine(table)            reported metric → number, from means of per-item values; default: 100 times each mean
    judge_prompts(answer, item), score(answer, item, replies)
                              for judged benchmarks: what the judge is asked (``judge.Messages``), and the score from
                              its replies; scored only where there is a judge
    judge_all(answers, items) what the judge is asked about every answer, where that depends on other answers (pairs of
                              questions); default: ``judge_prompts`` of each
    submission(answers, items)
                              file name → JSON value: what the benchmark's server wants for a split whose right answers
                              are secret. Where no item has references it is written instead of a score
    perfect(item)             a perfect model's answer; default: the first reference
    constants(items)          answers that look at no picture, to find the best of them; default: common right answers
    FILE                      its one file in the data folder, where it does not have a folder of its own

A benchmark is known by its name here and nowhere else; which of them make a category score is said in ``categories``.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mm15.base import catalogue
from mm15.base.config import Strict, validate
from mm15.base.errors import ConfigError
from mm15.evals import scoring
from mm15.evals.files import Files
from mm15.evals.items import Item, Reference, common_answers, written
from mm15.evals.judge import Messages
from mm15.evals.table import Combine, plain_means

PACKAGE = "mm15.evals.benchmarks"
CATEGORIES = (
    "general",
    "text_rich",
    "knowledge",
    "refer_ground",
    "multi_image",
    "in_context",
    "video",
    "ui",
    "few_shot",
)
"""The abilities of MM1.5's tables, those of its variants, and MM1's few-shot set."""
SUITES = ("paper", "mini", "video", "ui", "few-shot")
"""Each benchmark belongs to one; a category of the paper names a part of ``paper``."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark module with its defaults filled in; see above."""

    name: str
    suite: str
    category: str
    metric: str
    split: str
    max_new_tokens: int
    checks: Sequence[tuple[str, Any, float]]
    read: Callable[[Files], list[Item]]
    score: Callable[..., dict[str, float]]
    score_all: Callable[[Sequence[str], Sequence[Item]], list[dict[str, float]]]
    combine: Combine
    judge_prompts: Callable[[str, Item], list[Messages]] | None
    judge_all: Callable[[Sequence[str], Sequence[Item]], list[list[Messages]]]
    submission: Callable[[Sequence[str], Sequence[Item]], dict[str, Any]] | None
    perfect: Callable[[Item], str]
    constants: Callable[[Sequence[Item]], list[str]] | None
    options: type[Strict] | None
    file: str
    scorer: str
    """Changes whenever the code that scores could."""
    about: str

    def open(self, folder: str | Path, partial: bool = False, options: Mapping[str, Any] | None = None) -> Files:
        """Its files below ``folder``, for ``read``.

        Raises:
            ConfigError: unknown or wrong options.
        """
        if self.options is None and options:
            raise ConfigError([f"{key}: benchmark '{self.name}' has no options; remove it" for key in options], "--set")
        chosen = validate(self.options, options or {}, f"options of {self.name}") if self.options else None
        return Files(self.name, Path(folder), partial, chosen)

    def item_value(self, values: Mapping[str, float]) -> float:
        """How good one answer is: its primary value, or the first where the primary number is of all items only."""
        return values.get(self.metric, next(iter(values.values()), 0.0))


def known(suite: str | None = None) -> list[str]:
    """Names of all benchmarks, by suite and category; or of one suite, or of one category of the paper's.

    Raises:
        ConfigError: no such suite or category; the message names the nearest.
    """
    found = [find(name) for name in catalogue.names(PACKAGE)]
    found.sort(key=lambda benchmark: (SUITES.index(benchmark.suite), CATEGORIES.index(benchmark.category)))
    if suite is None:
        return [benchmark.name for benchmark in found]
    parts = {category.replace("_", "-"): category for category in CATEGORIES}
    if suite in SUITES:
        return [benchmark.name for benchmark in found if benchmark.suite == suite]
    if suite not in parts:
        names = [*SUITES, *parts]
        hint = catalogue.did_you_mean(suite, names)
        raise ConfigError([f"unknown suite '{suite}'{hint}; known: {', '.join(dict.fromkeys(names))}"], "suite")
    return [benchmark.name for benchmark in found if benchmark.suite == "paper" and benchmark.category == parts[suite]]


def listed(names: Sequence[str], suite: str | None) -> tuple[list[dict[str, Any]], str]:
    """Benchmarks as plain values, and as a table for people; those that are named with all that is said of them.

    Raises:
        ConfigError: an unknown benchmark or suite.
    """
    found = [find(name) for name in names or known(suite)]
    rows = [
        {
            "benchmark": each.name,
            "suite": each.suite,
            "category": each.category,
            "split": each.split,
            "metric": each.metric,
            "judged": each.judge_prompts is not None,
            "options": each.options.model_json_schema()["properties"] if each.options else {},
            "about": each.about,
        }
        for each in found
    ]
    if names:
        return rows, "\n\n".join(f"{row['benchmark']}\n{'-' * len(row['benchmark'])}\n{row['about']}" for row in rows)
    lines = [
        f"{row['benchmark']:<28} {row['category']:<13} {row['metric']:<20} {row['split']}"
        + (", judged" if row["judged"] else "")
        for row in rows
    ]
    return rows, "\n".join([*lines, "What one reads: mm15 eval --list --benchmark NAME"])


@cache
def find(name: str) -> Benchmark:
    """The benchmark with this name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    return _filled(catalogue.lookup(PACKAGE, name, "benchmark"))


def _filled(module: ModuleType) -> Benchmark:
    score = module.score

    def score_each(answers: Sequence[str], items: Sequence[Item]) -> list[dict[str, float]]:
        return [score(answer, item) for answer, item in zip(answers, items, strict=True)]

    judged = getattr(module, "judge_prompts", None)

    def judge_each(answers: Sequence[str], items: Sequence[Item]) -> list[list[Messages]]:
        return [judged(answer, item) if judged else [] for answer, item in zip(answers, items, strict=True)]

    constants = getattr(module, "constants", None)
    return Benchmark(
        name=module.NAME,
        suite=module.SUITE,
        category=module.CATEGORY,
        metric=module.METRIC,
        split=module.SPLIT,
        max_new_tokens=module.MAX_NEW_TOKENS,
        checks=module.CHECKS,
        read=module.read,
        score=score,
        score_all=getattr(module, "score_all", score_each),
        combine=getattr(module, "combine", plain_means),
        judge_prompts=judged,
        judge_all=getattr(module, "judge_all", judge_each),
        submission=getattr(module, "submission", None),
        perfect=getattr(module, "perfect", _first_reference),
        constants=constants or (None if judged else common_answers),
        options=getattr(module, "Options", None),
        file=getattr(module, "FILE", ""),
        scorer=_fingerprint(module),
        about=inspect.getdoc(module) or "",
    )


def _first_reference(item: Item) -> str:
    reference: Reference = item.references[0]
    return written(reference, item)


def _fingerprint(module: ModuleType) -> str:
    """Of the source of the benchmark, of what benchmarks share, and of all metrics."""
    digest = hashlib.sha256()
    own = Path(inspect.getfile(module))
    shared = sorted(own.parent.glob("_[a-z]*.py"), key=lambda file: file.name)
    metrics = sorted(Path(inspect.getfile(scoring)).parent.glob("*.py"), key=lambda file: file.name)
    for file in (own, *shared, *metrics):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
