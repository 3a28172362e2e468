"""The verb of evaluation. Heavy imports live inside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_engine import Dtype, Int8
from mm15.cli_show import Json, aside, show

KEY = "MM15_JUDGE_KEY"
"""Environment variable with the judge's key: keys do not belong on command lines."""


def evaluate(
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle or run folder; with --rescore the folder of an evaluation.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the benchmarks' files, one folder each; without it the mini suite is built."),
    ] = None,
    suite: Annotated[
        str, typer.Option(help="mini, paper, video, ui, few-shot, or one ability of the paper's: text-rich, ...")
    ] = "mini",
    benchmark: Annotated[list[str] | None, typer.Option(help="Only these benchmarks (repeatable).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for predictions, results and report; by default BUNDLE/../eval-SUITE.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many questions per benchmark; the report says so.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Allow files with fewer rows than the official ones.")
    ] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a benchmark's option: NAME.option=value (repeatable).")
    ] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option(help="Another reading of a category score: CATEGORY=NAME (repeatable); see docs/EVAL.md."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an evaluation that was interrupted.")] = False,
    rescore: Annotated[bool, typer.Option("--rescore", help="Score kept answers again; needs no model.")] = False,
    against: Annotated[
        list[Path] | None, typer.Option(help="Folder of another evaluation to compare with (repeatable).")
    ] = None,
    paper: Annotated[str, typer.Option(help="Show the paper's numbers of this size beside: 1b, 3b, 7b, 30b, ...")] = "",
    judge: Annotated[str, typer.Option(help=f"URL of an OpenAI-compatible server (its key in {KEY}).")] = "",
    judge_model: Annotated[str, typer.Option(help="The judge's model and version.")] = "",
    ranks: Annotated[int, typer.Option(help="Processes on this machine that share the questions.")] = 1,
    batch_tokens: Annotated[int, typer.Option(help="Places of the decoder's cache.")] = 16_384,
    dtype: Dtype = None,
    int8: Int8 = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Only list the suite's benchmarks; with --benchmark: what each is and reads.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a bundle by ability. Also under torchrun: every rank answers its share."""
    from mm15.base.errors import ConfigError
    from mm15.evals.benchmark import find, listed

    if listing:
        rows, text = listed(tuple(benchmark or ()), suite if not benchmark else None)
        show(rows, as_json, text)
        return
    if bundle is None:
        raise ConfigError(["name a bundle, or list the benchmarks with --list"], "mm15 eval")
    from mm15.build._mini_suite import build_suite
    from mm15.evals.launch import Job, launch
    from mm15.evals.request import Request

    readings = {part.partition("=")[0]: part.partition("=")[2] for part in reading or ()}
    place = out or (bundle if rescore else bundle.parent / f"eval-{suite if not benchmark else '-'.join(benchmark)}")
    if not rescore and data is None:
        if suite != "mini" or any(find(name).suite != "mini" for name in benchmark or ()):
            raise ConfigError(["--data is needed: the folder with the benchmarks' files"], "mm15 eval")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                ["--data is needed under torchrun: build it once with mm15 data build mini-suite"], "mm15 eval"
            )
        data = place / "mini-suite"
        if not data.is_dir():
            print(f"building the mini suite in {data}", file=sys.stderr, flush=True)
            build_suite(data)
    request = Request(str(data), tuple(benchmark or ()), suite, limit, partial, tuple(changes or ()), readings)
    job = Job(
        bundle=str(bundle),
        request=request,
        out=str(place),
        resume=resume,
        rescore=rescore,
        moved=str(data) if rescore and data else "",
        judge=(judge, judge_model, os.environ.get(KEY, "")),
        paper=paper,
        against=tuple(str(other) for other in against or ()),
        batch_tokens=batch_tokens,
        dtype=dtype,
        quantise="int8" if int8 else None,
    )
    with aside(as_json):
        report = launch(job, ranks, progress=lambda line: print(line, file=sys.stderr, flush=True))
    if report is not None:
        show(report.json, as_json, report.text)
