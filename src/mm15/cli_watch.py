"""The verb that tells how runs go, and what ``train`` is told about watching. Heavy imports live inside a verb."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, show

Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Also tell this program: tensorboard, wandb (offline) or trackio (repeatable)."),
]
Profile = Annotated[
    str, typer.Option("--profile", metavar="START:STEPS", help="Profile these steps into RUN/profile, such as 10:3.")
]
Evaluate = Annotated[
    list[str] | None,
    typer.Option(
        "--eval",
        metavar="NAME@every=N[,limit=M][,data=DIR]",
        help="Answer a suite or benchmarks every N steps, such as mini@every=200,limit=20 (repeatable).",
    ),
]


def watch(
    runs: Annotated[list[Path], typer.Argument(help="A run folder; several are drawn over one another.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes; by default RUN/report.html, or watch.html for several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say where runs stand and write the page that shows them."""
    from mm15.io.atomic import write_atomic
    from mm15.train.run_report import REPORT, overlay, told, write_report
    from mm15.train.run_state import History, check_run, standing

    for run in runs:
        check_run(run)
    histories = [History(run).read() for run in runs]
    found = [standing(history) for history in histories]
    if len(runs) == 1:
        page = out or runs[0] / REPORT
        write_report(histories[0], refresh=20, path=page)
    else:
        page = out or Path("watch.html")
        write_atomic(page, overlay(histories))
    lines = [told(now) for now in found] + [f"page: {page}"]
    lines += [f"Next: {now.next_step}" for now in found if now.state != "running"]
    if all(now.state == "running" for now in found):
        lines.append(f"Next: open {page}")
    show([asdict(now) for now in found], as_json, "\n".join(lines))


def changes_of(track: list[str] | None, profile: str, evaluations: list[str] | None) -> list[str]:
    """The flags of ``train`` as ``--set`` changes, so that a resumed run has them too.

    Raises:
        ConfigError: an --eval that says no every=N, or two that differ in more than names.
    """
    from mm15.base.errors import ConfigError
    from mm15.evals.benchmark import known

    changes = [f"train.trackers={json.dumps(track)}"] if track else []
    changes += [f"train.profile={json.dumps(profile)}"] if profile else []
    told: dict[str, object] = {}
    names = []
    problems = []
    for text in evaluations or ():
        name, _, rest = text.partition("@")
        names.append(name)
        for part in rest.split(",") if rest else ():
            key, _, value = part.partition("=")
            number: object = int(value) if key in {"every", "limit"} and value.isdecimal() else value
            if key not in {"every", "limit", "data"} or (key != "data" and not isinstance(number, int)):
                problems.append(f"--eval {text}: expected NAME@every=N[,limit=M][,data=DIR], found '{part}'")
            elif told.setdefault(key, number) != number:
                problems.append(f"--eval {text}: {key} is {told[key]} in another --eval; they are answered together")
    if names and "every" not in told and not problems:
        problems.append(f"--eval {names[0]}: say how often, such as {names[0]}@every=200")
    benchmarks = [name for name in names if name in known()]
    whole = [name for name in names if name not in known()]
    for name in whole:
        known(name)  # refuses what is no suite either
    if len(whole) + bool(benchmarks) > 1:
        problems.append(f"--eval: one suite, or benchmarks: {', '.join(names)}")
    if problems:
        raise ConfigError(problems, "mm15 train")
    if names:
        asked = {**told, **({"suite": whole[0]} if whole else {"benchmarks": benchmarks})}
        changes.append(f"evaluate={json.dumps(asked)}")
    return changes
