"""Answers → scores, constants, categories: needs no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mm15.evals.benchmark import Benchmark, find
from mm15.evals.categories import CategoryScore, category_scores, mmbase
from mm15.evals.failures import failures
from mm15.evals.items import Item
from mm15.evals.judge import Judge
from mm15.evals.predictions import Prediction, check_once
from mm15.evals.table import Score, Table, estimate

CONSTANT_SCORINGS = 50_000
"""At most so many answers are scored to find the best constant one of a benchmark."""


@dataclass(slots=True)
class Speed:
    """Where the time of answering went, in seconds of one rank."""

    reading: float = 0.0
    """Pictures and text into tokens and tiles."""
    answering: float = 0.0
    """The model."""
    items: int = 0
    tokens: int = 0
    _start: float = 0.0

    def start(self) -> None:
        self._start = time.perf_counter()

    def count(self, predictions: Sequence[Prediction]) -> None:
        """Answers that just came in."""
        self.items += len(predictions)
        self.tokens += sum(kept.tokens for kept in predictions)

    @property
    def seconds(self) -> float:
        return self.reading + self.answering

    @property
    def bound(self) -> str:
        """What took most of the time."""
        return "the model" if self.answering >= self.reading else "reading pictures"

    def told(self, asked: int, left: int) -> str:
        """ ", 12.3 items/s, 40 s left" once something was answered."""
        if not self.items or not self.seconds:
            return ""
        rate = self.items / max(1e-9, time.perf_counter() - self._start)
        return f", {rate:.1f} items/s, {left / rate:.0f} s left"

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``results.json``."""
        rate = round(self.items / self.seconds, 2) if self.seconds else None
        return {
            "items": self.items,
            "items_per_second": rate,
            "tokens": self.tokens,
            "reading_seconds": round(self.reading, 3),
            "answering_seconds": round(self.answering, 3),
            "bound": self.bound,
        }


@dataclass(frozen=True, slots=True)
class Constant:
    """The best answer that looks at no picture, and its primary score."""

    answer: str
    value: float


@dataclass(frozen=True, slots=True)
class EvalReport:
    """What came out. Shares are 0-100."""

    scores: list[Score]
    """The primary metric of every benchmark that was scored."""
    details: list[Score]
    """The other metrics, and ``metric (task)`` of the primary one per task where a benchmark has several."""
    constants: dict[str, Constant]
    """Benchmark → best constant answer."""
    predictions: dict[str, list[Prediction]]
    """Benchmark → its answers, in file order."""
    items: dict[str, list[Item]]
    """Benchmark → its questions, in the same order."""
    categories: dict[str, CategoryScore]
    mmbase: float | None
    not_judged: list[str]
    """Benchmarks that were answered but need a judge."""
    judge: str
    """Its name, if there was one."""
    submissions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Benchmark whose right answers are secret, so that it has no score here → file name → what to hand in."""
    missing: list[str] = field(default_factory=list)
    """Benchmarks that were asked for and have no files."""
    speeds: dict[str, Speed] = field(default_factory=dict)
    partial: bool = False
    """Not all official questions were asked."""
    fixed: dict[str, str] = field(default_factory=dict)
    """Benchmark of the mini suite → whether its file is the fixed one (``evals.fixed``)."""


def summary(
    predictions: Mapping[str, Sequence[Prediction]],
    items: Mapping[str, Sequence[Item]],
    suite: str = "mini",
    readings: Mapping[str, str] | None = None,
    judge: str = "",
) -> EvalReport:
    """Scores, constants and means of answers.

    Raises:
        DataError: a question without an answer, with two, or an answer to no question.
    """
    scores, details, not_judged = [], [], []
    constants, scored, submissions = {}, {}, {}
    for name, answered in predictions.items():
        benchmark = find(name)
        asked = items[name]
        check_once(name, [kept.key for kept in answered], [item.key for item in asked])
        if benchmark.judge_prompts and not any(kept.replies for kept in answered):
            not_judged.append(name)
            scored[name] = list(answered)
            continue
        if benchmark.submission and not any(item.references for item in asked):
            submissions[name] = benchmark.submission(_answers(answered), asked)
            scored[name] = list(answered)
            continue
        values = item_values(benchmark, answered, asked)
        scored[name] = [
            replace(kept, scores=row, scorer=benchmark.scorer) for kept, row in zip(answered, values, strict=True)
        ]
        primary, *others = reported(benchmark, values, asked)
        scores.append(primary)
        details += others
        if benchmark.constants:
            constants[name] = constant_answer(benchmark, asked)
    categories = category_scores(suite, {score.benchmark: score.value for score in scores}, readings)
    return EvalReport(
        scores, details, constants, scored, {name: list(asked) for name, asked in items.items()}, categories,
        mmbase(categories), not_judged, judge, submissions,
    )  # fmt: skip


def item_values(benchmark: Benchmark, answered: Sequence[Prediction], items: Sequence[Item]) -> list[dict[str, float]]:
    """metric → value of every item. An answer with an error is scored as silence."""
    answers = _answers(answered)
    if benchmark.judge_prompts is None:
        return benchmark.score_all(answers, items)
    return [
        benchmark.score(answer, item, kept.replies) for answer, item, kept in zip(answers, items, answered, strict=True)
    ]


def _answers(answered: Sequence[Prediction]) -> list[str]:
    return ["" if kept.error else kept.answer for kept in answered]


def reported(benchmark: Benchmark, values: Sequence[Mapping[str, float]], items: Sequence[Item]) -> list[Score]:
    """The primary number, then the others, then the primary per-item metric of every task where several have it."""
    tasks = [item.task for item in items]
    clusters = [item.group or item.key for item in items]
    table = Table(values, tasks)
    found = estimate(table, clusters, benchmark.combine, benchmark.name)
    order = [benchmark.metric, *(metric for metric in found if metric != benchmark.metric)]
    scores = [_score(benchmark, metric, table, found[metric]) for metric in order]
    tasked = [task for task in table.tasks if benchmark.metric in table.metrics and table.count(benchmark.metric, task)]
    if len(tasked) > 1:
        for task in tasked:
            chosen = [number for number, named in enumerate(tasks) if named == task]
            rows = [values[number] for number in chosen if benchmark.metric in values[number]]
            part = Table(rows, [task] * len(rows))
            own = [clusters[number] for number in chosen if benchmark.metric in values[number]]
            one = estimate(part, own, lambda t: {benchmark.metric: 100 * t.mean(benchmark.metric)}, benchmark.name)
            metric = f"{benchmark.metric} ({task or 'no task'})"
            value, stderr, low, high = one[benchmark.metric]
            scores.append(Score(benchmark.name, benchmark.category, metric, value, len(rows), stderr, low, high))
    return scores


def _score(benchmark: Benchmark, metric: str, table: Table, found: tuple[float, ...]) -> Score:
    value, stderr, low, high = found
    n = table.count(metric) if metric in table.metrics else table.size
    return Score(benchmark.name, benchmark.category, metric, value, n, stderr, low, high)


def constant_answer(benchmark: Benchmark, items: Sequence[Item]) -> Constant:
    """The best of the benchmark's ``constants``, each given to every question."""
    assert benchmark.constants is not None
    best = Constant("", 0.0)
    for answer in benchmark.constants(items)[: max(2, CONSTANT_SCORINGS // len(items))]:
        table = Table(benchmark.score_all([answer] * len(items), items), [item.task for item in items])
        value = float(benchmark.combine(table)[benchmark.metric][0])
        best = max(best, Constant(answer, value), key=lambda constant: constant.value)
    return best


def ask_judge(
    benchmark: Benchmark,
    answered: Sequence[Prediction],
    items: Sequence[Item],
    judge: Judge,
    progress: Callable[[str], None] | None,
) -> list[Prediction]:
    """The answers with the judge's replies; an answer with an error is not shown to it and scores nothing."""
    if benchmark.judge_prompts is None:
        return list(answered)
    judged = []
    asked = benchmark.judge_all(["" if kept.error else kept.answer for kept in answered], items)
    for number, (kept, prompts) in enumerate(zip(answered, asked, strict=True), 1):
        shown = [] if kept.error else prompts
        judged.append(replace(kept, replies=tuple(judge.ask(prompt) for prompt in shown)))
        if progress:
            progress(f"{benchmark.name}: {number}/{len(items)} judged by {judge.name}")
    return judged


def results_json(report: EvalReport, untrained: EvalReport | None = None) -> dict[str, Any]:
    """The report as the plain values of ``results.json``.

    Args:
        untrained: the same benchmarks answered by the same model before training, if that was measured.
    """
    before = {(score.benchmark, score.metric): score.value for score in (untrained.scores if untrained else [])}
    counting = {name for category in report.categories.values() for name in category.members}
    return {
        "mmbase": _rounded(report.mmbase),
        "categories": {category: _rounded(score.value) for category, score in report.categories.items()},
        "category_rules": {
            category: {
                "reading": score.reading,
                "basis": score.basis,
                "note": score.note,
                "members": list(score.members),
                "missing": list(score.missing),
            }
            for category, score in report.categories.items()
        },
        "scores": [
            {
                **_score_json(score),
                "split": find(score.benchmark).split,
                "untrained": _rounded(before.get((score.benchmark, score.metric))),
                "constant": _rounded(constant.value) if (constant := report.constants.get(score.benchmark)) else None,
                "constant_answer": constant.answer if constant else None,
                "counts": score.benchmark in counting,
                "errors": sum(bool(prediction.error) for prediction in report.predictions[score.benchmark]),
                "scorer": find(score.benchmark).scorer,
            }
            for score in report.scores
        ],
        "failures": {
            score.benchmark: failures(find(score.benchmark), report.predictions[score.benchmark])
            for score in report.scores
        },
        "details": [_score_json(score) for score in report.details],
        "missing": report.missing,
        "not_judged": report.not_judged,
        "submissions": {name: list(files) for name, files in report.submissions.items()},
        "judge": report.judge or None,
        "partial": report.partial,
        "fixed": report.fixed,
        "speed": {name: speed.to_json() for name, speed in report.speeds.items()},
    }


def _score_json(score: Score) -> dict[str, Any]:
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in asdict(score).items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
