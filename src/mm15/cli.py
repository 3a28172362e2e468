"""The verbs. Heavy imports live inside a verb, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mm15.base.errors import Interrupted, MM15Error
from mm15.cli_curate import data_app
from mm15.cli_engine import Dtype, Int8
from mm15.cli_eval import evaluate
from mm15.cli_export import export_bundle
from mm15.cli_model import describe, upcycle
from mm15.cli_plan import plan
from mm15.cli_show import Json, aside, show
from mm15.cli_transfer import convert_weights, import_model
from mm15.cli_watch import Evaluate, Profile, Track, changes_of, watch

if TYPE_CHECKING:
    from mm15.stage import StageResult

app = typer.Typer(
    name="mm15",
    help="The open system that the MM1.5 paper describes: mix data, train three stages, measure by ability, chat.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
mix_app = typer.Typer(help="Mixtures: what is drawn and how often.", no_args_is_help=True)
app.add_typer(mix_app, name="mix")
app.add_typer(data_app, name="data")

Set = Annotated[list[str] | None, typer.Option("--set", help="Change a recipe value: a.b=value (repeatable).")]
Data = Annotated[Path, typer.Option("--data", help="Folder that the recipe's source paths start from.")]


def main() -> None:
    """Run a verb; errors that mm15 raises on purpose are printed as a sentence, without a traceback."""
    try:
        app()
    except MM15Error as error:
        print(f"mm15: {error}", file=sys.stderr)
        sys.exit(130 if isinstance(error, Interrupted) else 2)


def ready(run: Path) -> str:
    """What to do with a finished run."""
    return f"{run}/bundle is ready. Next: mm15 chat {run}/bundle --image PICTURE 'question'"


def tell(result: StageResult, run: Path, as_json: bool) -> None:
    """How a stage ended; under torchrun the first rank speaks for all."""
    if int(os.environ.get("RANK", "0")) == 0:
        show(result, as_json, ready(run) if result.finished else "")


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted quickstart in it is continued.")] = Path(
        "runs/quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Seed of data, initial weights and order.")] = 0,
    pdf: Annotated[Path | None, typer.Option(help="A folder of your own PDFs to read beside the shipped one.")] = None,
    tiny: Annotated[bool, typer.Option(help="A minute's walk through the same code; learns nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Build data from real material, train a miniature through all stages, evaluate it, write the report."""
    from mm15.quickstart import run_quickstart

    with aside(as_json):
        results = run_quickstart(out, seed=seed, pdfs=pdf, tiny=tiny)
    show(results, as_json, "")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do, what is missing, and the fix."""
    from mm15.doctor import examine

    findings = examine()
    lines = [
        f"{'ok  ' if finding.ok else 'FAIL'} {finding.name:<14} {finding.value}"
        + ("" if finding.ok else f"\n     fix: {finding.fix}")
        for finding in findings
    ]
    show([asdict(finding) for finding in findings], as_json, "\n".join(lines))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a shipped one (e.g. sft-mini).")],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    data: Data = Path(),
    from_: Annotated[Path | None, typer.Option("--from", help="Bundle to start from.")] = None,
    changes: Set = None,
    track: Track = None,
    profile: Profile = "",
    evaluations: Evaluate = None,
    as_json: Json = False,
) -> None:
    """Train one stage: a bundle in, a bundle out. RUN/report.html shows how it goes."""
    from mm15.stage import start_stage

    told = changes_of(track, profile, evaluations)
    with aside(as_json):
        result = start_stage(recipe, out, data=data, init=from_, changes=[*told, *(changes or ())])
    tell(result, out, as_json)
    raise typer.Exit(0 if result.finished else 130)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run folder that stopped.")],
    accept_plan: Annotated[bool, typer.Option(help="Go on although the data changed since the checkpoint.")] = False,
    as_json: Json = False,
) -> None:
    """Continue an interrupted run from its newest valid checkpoint, exactly."""
    from mm15.stage import resume_stage

    with aside(as_json):
        result = resume_stage(run, accept_plan=accept_plan)
    tell(result, run, as_json)
    raise typer.Exit(0 if result.finished else 130)


app.command(name="eval")(evaluate)
app.command()(watch)
app.command()(describe)
app.command()(plan)
app.command()(upcycle)
app.command(name="import")(import_model)
app.command()(convert_weights)
app.command(name="export")(export_bundle)


@app.command()
def chat(
    bundle: Annotated[Path, typer.Argument(help="A bundle or run folder.")],
    question: Annotated[str | None, typer.Argument(help="Leave out to talk interactively.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture (repeatable).")] = None,
    video: Annotated[Path | None, typer.Option(help="A film, an animation, or a folder of frames.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of the film that are seen, evenly spread.")] = 24,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="x1,y1,x2,y2 in pixels of the first picture (repeatable); stands where the question says []."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the picture with the answer's boxes drawn.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 256,
    dtype: Dtype = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Ask about pictures or a clip: text, boxes in pixels, and an annotated copy of the picture."""
    import mm15
    from mm15.generate.chat import NOTHING, clip_part, describe, parse_box, talk

    session = mm15.load(bundle, quantise="int8" if int8 else None, dtype=dtype)
    images = list(image or ())
    clip = None if video is None else clip_part(video, frames)
    if question is None:
        talk(session, images, annotated=out, max_new_tokens=max_new_tokens, video=clip)
        return
    boxes = [parse_box(text) for text in box or ()]
    reply = session.ask(question, images=images, video=clip, regions=boxes, max_new_tokens=max_new_tokens)
    annotated = reply.save_annotated(out) if out and reply.regions else None
    lines = [reply.text or NOTHING, *(describe(region) for region in reply.regions)]
    show(reply.to_json(annotated), as_json, "\n".join(lines + ([f"drawn: {annotated}"] if annotated else [])))


@mix_app.command("show")
def mix_show(
    recipe: Annotated[Path, typer.Argument(help="A recipe file or the name of a shipped one.")],
    data: Data = Path(),
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Print what a recipe would draw: share, draws and epochs of every source."""
    from mm15.stage import mixture_of

    rows, text = mixture_of(recipe, data, changes or ())
    show(rows, as_json, f"{text}\nNext: mm15 train {recipe} --data {data} --out RUN")
