"""The verb that says beforehand what a run takes: plan. Heavy imports live inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, aside, show


def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a shipped one (e.g. sft-3b).")],
    hardware: Annotated[str, typer.Option(help="COUNTxDEVICE: A100, H100, H200, B200, cpu.")] = "64xH200",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data: packs are counted. Without it: stated distributions.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="A run folder: its steps give the speed.")] = None,
    price: Annotated[float | None, typer.Option(help="USD an hour of one device.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take one step on simulated ranks, too.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a recipe value: a.b=value.")] = None,
    as_json: Json = False,
) -> None:
    """Tokens, tiles, FLOPs, memory of a rank, hours and cost of a run, and what would make it fit."""
    from dataclasses import asdict

    from mm15.plan.planning import plan_run
    from mm15.plan.telling import text_of

    with aside(as_json):
        made = plan_run(recipe, hardware, data, calibration, price, changes or ())
        told, extra = text_of(made), {}
        if dry_run:
            from mm15.plan.fake_ranks import dry_run_of

            walked = dry_run_of(recipe, hardware, made.largest, changes or ())
            told = f"{told}\n\n{walked.text}"
            extra = {"dry_run": asdict(walked)}
    show({**asdict(made), **extra}, as_json, f"{told}\nNext: mm15 train {recipe} --data DATA --from BUNDLE --out RUN")
