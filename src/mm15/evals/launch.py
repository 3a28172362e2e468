"""One evaluation as a user asks for it: on one process or several ranks, scored, compared, written as a page."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mm15.base.errors import Interrupted
from mm15.bundle import load_bundle
from mm15.dist.ranks import is_first, local_ranks, torchrun_ranks
from mm15.evals.compare import compare, kept_predictions
from mm15.evals.fixed import not_fixed
from mm15.evals.judge import Endpoint, Judge, Recorded
from mm15.evals.report import pick_examples, write_report
from mm15.evals.request import Request
from mm15.evals.results import EvalReport, results_json
from mm15.evals.run import RESULTS, SUBMISSIONS, evaluate, rescore
from mm15.evals.standing import Other
from mm15.generate.engine import BATCH_TOKENS
from mm15.model.quantise import prepare

REPORT, JUDGE = "report.html", "judge.jsonl"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What ``mm15 eval`` was asked. Picklable: every rank gets it.

    Args:
        bundle: the model; not read where kept answers are scored again.
        out: folder of predictions, results and page.
        moved: where the benchmarks' files lie now, for ``rescore``; empty: where they lay.
        judge: URL, model and key; all empty: replies that ``out`` keeps from before, or none.
        against: folders of other evaluations of the same questions.
        paper: a size of the paper whose numbers stand beside these on the page.
        dtype, quantise: as ``model.quantise.prepare`` takes them; predictions tell which.
    """

    bundle: str
    request: Request
    out: str
    resume: bool = False
    rescore: bool = False
    moved: str = ""
    judge: tuple[str, str, str] = ("", "", "")
    against: tuple[str, ...] = ()
    paper: str = ""
    batch_tokens: int = BATCH_TOKENS
    dtype: str | None = None
    quantise: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results as plain values, and as lines for people."""

    json: dict[str, Any]
    text: str


def launch(job: Job, ranks: int = 1, progress: Progress | None = None) -> Outcome | None:
    """Do it. On other ranks than the first nothing is returned.

    Args:
        ranks: processes on this machine; those that ``torchrun`` started are used whatever it says.

    Raises:
        MM15Error: what is wrong with the request, the files, the bundle, the folder or the judge.
    """
    if job.rescore:
        return _tell(job, rescore(job.out, job.moved or None, _judge(job)))
    with torchrun_ranks():
        if ranks == 1:
            report = _evaluate(job, progress)
        else:
            with local_ranks(ranks, multiprocessing.get_context("spawn"), _evaluate, job):
                report = _evaluate(job, progress)
        return _tell(job, report) if is_first() else None


def _evaluate(job: Job, progress: Progress | None = None) -> EvalReport:
    loaded = load_bundle(job.bundle)
    prepare(loaded.model, job.dtype, job.quantise)
    try:
        return evaluate(
            loaded.model,
            loaded.processor,
            job.request,
            job.out,
            job.resume,
            _judge(job),
            job.batch_tokens,
            progress if is_first() else None,
        )
    except KeyboardInterrupt as error:
        told = f"stopped; what was answered is kept in {job.out}. Go on with the same command and --resume"
        raise Interrupted(told) from error


def _judge(job: Job) -> Judge | None:
    url, model, key = job.judge
    kept = Path(job.out) / JUDGE
    if not url and not kept.is_file():
        return None
    return Recorded(kept, Endpoint(url, model, key) if url else None)


def _other(place: Path, report: EvalReport) -> Other:
    """Another evaluation, compared with this one."""
    kept = kept_predictions(place)
    results = json.loads((place / RESULTS).read_text(encoding="utf-8"))
    return Other(place.name, results["categories"], compare(report.predictions, kept))


def _tell(job: Job, report: EvalReport) -> Outcome:
    results = results_json(report)
    page = Path(job.out) / REPORT
    others = [_other(Path(place), report) for place in job.against]
    title = f"mm15 evaluation of {job.bundle or job.out}"
    write_report(page, title, (), results, pick_examples(report), others=others, paper=job.paper)
    if others:
        results["against"] = {other.name: [asdict(found) for found in other.comparisons] for other in others}
    lines = [
        f"{score.benchmark:<24} {score.metric:<18} {score.value:7.1f}  ± {score.stderr:.1f}  n={score.n}"
        for score in report.scores
    ]
    lines += [
        f"{name:<24} {'no score' if score.value is None else f'{score.value:.1f}'}"
        + (f", missing: {', '.join(score.missing)}" if score.missing else "")
        for name, score in report.categories.items()
    ]
    if report.categories:
        lines.append(f"{'MMBase':<24} " + ("no score" if report.mmbase is None else f"{report.mmbase:.1f}"))
    lines += [
        f"{found.benchmark:<24} {found.difference:+7.1f} against {other.name} "
        f"({found.low:+.1f} to {found.high:+.1f}, p {found.p:.3f})"
        for other in others
        for found in other.comparisons
    ]
    if unlike := not_fixed(report.fixed):
        lines.append(unlike)
    if report.not_judged:
        lines.append(f"Not judged (name a judge: --judge URL --judge-model NAME): {', '.join(report.not_judged)}")
    for name, files in report.submissions.items():
        told = ", ".join(str(Path(job.out) / SUBMISSIONS / file) for file in files)
        lines.append(f"{name}: not scored, its right answers are secret; submission written: {told}")
    if report.missing:
        lines.append(f"No files for: {', '.join(report.missing)}")
    lines.append(f"Next: open {page}")
    return Outcome(results, "\n".join(lines))
