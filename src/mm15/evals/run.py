"""Run benchmarks over a model: every question answered exactly once, every answer kept, means by category.

A question whose picture cannot be read counts as wrong and stays in n. Beside each score stands what the best constant
answer would get. Nothing is left out silently: a benchmark without its file is listed as missing, and a category or
MMBase that needs it is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mm15.base.batch import EncodedSample
from mm15.base.errors import DataError, SkipSample
from mm15.evals.benchmark import (
    CATEGORIES,
    Benchmark,
    Item,
    Prediction,
    Score,
    find,
    known,
    prompt_text,
    read_items,
    summarise,
    written,
)
from mm15.generate.engine import BATCH_TOKENS, batches, generate
from mm15.io.atomic import write_atomic
from mm15.model.multimodal import MultimodalModel
from mm15.processor import Processor

MMBASE = ("general", "text_rich", "knowledge")
"""MMBase is the mean of these three category scores (MM1.5, evaluation)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The best answer that looks at no picture, and its primary score, 0-100."""

    answer: str
    value: float


@dataclass(frozen=True, slots=True)
class EvalReport:
    """What came out. Scores are 0-100."""

    scores: list[Score]
    """The primary metric of every benchmark that was run."""
    details: list[Score]
    """The other metrics, and ``metric (task)`` for the primary one of every task where a file has several."""
    constants: dict[str, Constant]
    """Benchmark → best constant answer."""
    predictions: dict[str, list[Prediction]]
    """Benchmark → its answers, in file order."""
    items: dict[str, list[Item]]
    """Benchmark → its questions, in the same order."""
    missing: list[str]
    """Benchmarks that were not run."""
    categories: dict[str, float | None]
    """Category → mean of its benchmarks that count; None while one of them is missing."""
    mmbase: float | None


def evaluate(
    model: MultimodalModel,
    processor: Processor,
    folder: str | Path,
    benchmarks: Sequence[str] | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[str], None] | None = None,
) -> EvalReport:
    """Answer and score held-out questions, greedily.

    Args:
        folder: where the files of the benchmarks lie.
        benchmarks: names; none given runs all whose file is there.
        out: folder for ``predictions.jsonl`` and ``results.json``; None writes nothing.
        limit: at most so many questions per benchmark.
        batch_tokens: places of the decoder's cache.
        progress: called with a line of text as answers come in.

    Raises:
        ConfigError: an unknown benchmark.
        DataError: a named benchmark has no file, none has one, or a file has unusable rows.
    """
    folder = Path(folder)
    wanted = [find(name) for name in dict.fromkeys(benchmarks or known())]
    there = [benchmark for benchmark in wanted if (folder / benchmark.FILE).is_file()]
    absent = [f"{benchmark.NAME} needs {folder / benchmark.FILE}" for benchmark in wanted if benchmark not in there]
    if (absent and benchmarks) or not there:
        raise DataError("no held-out file for: " + "; ".join(absent) + ". Build them, or name other benchmarks")
    items = {benchmark.NAME: read_items(benchmark, folder, limit) for benchmark in there}
    predictions: dict[str, list[Prediction]] = {}
    for benchmark in there:
        answered = _answer(model, processor, benchmark, items[benchmark.NAME], batch_tokens, progress)
        predictions[benchmark.NAME] = answered
    report = summary(predictions, items)
    if out is not None:
        rows = ({"benchmark": name, **asdict(prediction)} for name, kept in predictions.items() for prediction in kept)
        write_atomic(Path(out) / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        write_atomic(Path(out) / "results.json", json.dumps(results_json(report), indent=1))
    return report


def summary(predictions: dict[str, list[Prediction]], items: dict[str, list[Item]]) -> EvalReport:
    """Scores, constants and means of answers; needs no model.

    Raises:
        DataError: a question without an answer, with two, or an answer to no question.
    """
    scores, details, constants = [], [], {}
    for name, answered in predictions.items():
        benchmark = find(name)
        _check_once(name, answered, items[name])
        primary, *others = _scores(benchmark, answered)
        scores.append(primary)
        details += others
        constants[name] = constant_answer(benchmark, items[name])
    missing = [name for name in known() if name not in predictions]
    categories = {category: _mean_of_category(category, scores) for category in CATEGORIES}
    mmbase = _mean([categories[category] for category in MMBASE])
    return EvalReport(scores, details, constants, predictions, items, missing, categories, mmbase)


def constant_answer(benchmark: Benchmark, items: Sequence[Item]) -> Constant:
    """The best of the benchmark's ``constants``, each given to every question."""
    best = Constant("", 0.0)
    for answer in benchmark.constants(items):
        value = 100 * sum(benchmark.score(answer, item)[benchmark.METRIC] for item in items) / len(items)
        best = max(best, Constant(answer, value), key=lambda constant: constant.value)
    return best


def results_json(report: EvalReport, untrained: EvalReport | None = None) -> dict[str, Any]:
    """The report as the plain values of ``results.json``.

    Args:
        untrained: the same benchmarks answered by the same model before training, if that was measured.
    """
    before = {(score.benchmark, score.metric): score.value for score in (untrained.scores if untrained else [])}
    return {
        "mmbase": _rounded(report.mmbase),
        "categories": {category: _rounded(value) for category, value in report.categories.items()},
        "scores": [
            {
                **_score_json(score),
                "untrained": _rounded(before.get((score.benchmark, score.metric))),
                "constant": _rounded(report.constants[score.benchmark].value),
                "constant_answer": report.constants[score.benchmark].answer,
                "counts": find(score.benchmark).COUNTS_IN_AVERAGE,
                "errors": sum(bool(prediction.error) for prediction in report.predictions[score.benchmark]),
            }
            for score in report.scores
        ],
        "details": [_score_json(score) for score in report.details],
        "missing": report.missing,
    }


def _score_json(score: Score) -> dict[str, Any]:
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in asdict(score).items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _answer(
    model: MultimodalModel,
    processor: Processor,
    benchmark: Benchmark,
    items: Sequence[Item],
    batch_tokens: int,
    progress: Callable[[str], None] | None,
) -> list[Prediction]:
    by_key = {item.key: item for item in items}
    done: dict[str, Prediction] = {}

    def readable() -> Iterator[EncodedSample]:
        for item in items:
            try:
                yield processor.encode(item.sample, answering=True)
            except SkipSample as error:
                done[item.key] = _failed(benchmark, item, str(error))

    for group in batches(readable(), benchmark.MAX_NEW_TOKENS, batch_tokens):
        answers = generate(model, processor, group, benchmark.MAX_NEW_TOKENS, batch_tokens=batch_tokens)
        for encoded, answer in zip(group, answers, strict=True):
            item, text = by_key[encoded.key], answer.text.strip()
            done[item.key] = Prediction(
                key=item.key,
                prompt=prompt_text(item.sample),
                prompt_hash=_hash(encoded),
                answer=text,
                references=tuple(written(reference, item) for reference in item.references),
                scores=benchmark.score(text, item),
                tokens=encoded.num_tokens + len(answer.ids),
                stop_reason=answer.stop_reason,
                task=item.task,
            )
        if progress:
            progress(f"{benchmark.NAME}: {len(done)}/{len(items)} answered")
    return [done[item.key] for item in items if item.key in done]


def _failed(benchmark: Benchmark, item: Item, error: str) -> Prediction:
    wrong = {name: 0.0 for name in benchmark.score("", item)}
    references = tuple(written(reference, item) for reference in item.references)
    return Prediction(item.key, prompt_text(item.sample), "", "", references, wrong, 0, "error", item.task, error)


def _hash(encoded: EncodedSample) -> str:
    digest = hashlib.sha256(encoded.tokens_T.numpy().tobytes())
    digest.update(encoded.tiles_NCHW.numpy().tobytes())
    return digest.hexdigest()[:16]


def _check_once(name: str, answered: Sequence[Prediction], items: Sequence[Item]) -> None:
    asked, found = Counter(item.key for item in items), Counter(prediction.key for prediction in answered)
    wrong = sorted(key for key in asked | found if asked[key] != 1 or found[key] != 1)
    if wrong:
        shown = ", ".join(f"{key} (asked {asked[key]}, answered {found[key]} times)" for key in wrong[:5])
        raise DataError(f"{name}: {len(wrong)} questions were not answered exactly once: {shown}")


def _scores(benchmark: Benchmark, answered: Sequence[Prediction]) -> list[Score]:
    """The primary score, then the other metrics, then the primary metric per task where there are several."""
    primary = benchmark.METRIC
    metrics = [primary, *(name for name in answered[0].scores if name != primary)]
    scores = [summarise(benchmark, metric, [kept.scores[metric] for kept in answered]) for metric in metrics]
    tasks = sorted({kept.task for kept in answered})
    if len(tasks) > 1:
        for task in tasks:
            values = [kept.scores[primary] for kept in answered if kept.task == task]
            scores.append(summarise(benchmark, f"{primary} ({task or 'no task'})", values))
    return scores


def _mean_of_category(category: str, scores: Sequence[Score]) -> float | None:
    found = {score.benchmark: score.value for score in scores}
    modules = [find(name) for name in known()]
    counting = [module.NAME for module in modules if category == module.CATEGORY and module.COUNTS_IN_AVERAGE]
    return _mean([found.get(name) for name in counting])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None when a value is missing."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None
