"""The verbs of data sets: build, list, show, recaption. Heavy imports live inside a verb."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, show

data_app = typer.Typer(help="Data sets: those of the papers, and building small ones.", no_args_is_help=True)


@data_app.command("build")
def data_build(
    out: Annotated[Path, typer.Option(help="New folder to write data sets into.")],
    name: Annotated[
        str,
        typer.Argument(help="pdf, charts, scenes, interleaved, text, screens, clips; else the quickstart's data."),
    ] = "quickstart",
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", help="Your files or folders (repeatable); else what is shipped.")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Rows of each data set; 0: the builder's own choice.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    heldout: Annotated[float, typer.Option(help="Share of the material that goes to OUT/heldout instead.")] = 0.0,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="Only this of the builder's formats (repeatable).")
    ] = None,
    size: Annotated[int, typer.Option(help="Longest side of pictures in pixels; 0: the builder's own choice.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; the bytes do not depend on them.")] = 2,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Print and fetch larger packages from Debian or PyPI as input.")
    ] = False,
    pdf: Annotated[Path | None, typer.Option(help="Quickstart: a folder of your own PDFs.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Quickstart: a few rows of each.")] = False,
    as_json: Json = False,
) -> None:
    """Build data sets in public formats from your own or shipped material."""
    from mm15.base.errors import ConfigError

    if name == "quickstart":
        from mm15.quickstart import build_data

        if inputs or n or heldout or formats or size or fetch:
            raise ConfigError(
                ["the quickstart's data sets take --out, --seed, --pdf and --tiny only"], "mm15 data build"
            )
        reports = build_data(out, seed=seed, pdfs=pdf, tiny=tiny)
        lines = [f"{report['split']:<8} {report['name']:<28} {report['rows']:>7} rows" for report in reports]
        lines.append(f"Next: mm15 train encoder-mini --data {out}/train --out RUN")
        show(reports, as_json, "\n".join(lines))
        return
    from mm15.build._fetch import fetch as fetch_packages
    from mm15.build._sets import Request, build_set, told

    if pdf or tiny:
        raise ConfigError(["--pdf and --tiny are the quickstart's; give --input and --n"], f"mm15 data build {name}")
    fetched = fetch_packages(name, lambda line: print(line, file=sys.stderr)) if fetch else []
    request = Request((*(inputs or ()), *fetched), n, seed, heldout, tuple(formats or ()), size, workers)
    report = build_set(name, out, request)
    show(report, as_json, "\n".join(told(report, out)))


@data_app.command("list")
def data_list(
    category: Annotated[str, typer.Option(help="Only this category, e.g. text_rich.")] = "",
    stage: Annotated[str, typer.Option(help="Only this stage: encoder, pretrain, continual, sft, video, ui.")] = "",
    as_json: Json = False,
) -> None:
    """List the data sets that the papers name, and open stand-ins for the private ones."""
    from mm15.datasets._registry import select

    found = select(category, stage)
    lines = [f"{'name':<29} {'stages':<18} {'category':<12} {'size':>8} {'unit':<11} {'read by':<15} licence"]
    for entry in found:
        reader = entry.adapter if entry.available else "private"
        lines.append(
            f"{entry.name:<29} {','.join(entry.stages):<18} {entry.category:<12} {_short(entry.size):>8} "
            f"{entry.unit:<11} {reader:<15} {entry.licence}"
        )
    lines.append(f"{len(found)} data sets. Next: mm15 data show NAME")
    show([entry.model_dump(mode="json") for entry in found], as_json, "\n".join(lines))


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A name from `mm15 data list`.")],
    as_json: Json = False,
) -> None:
    """Say what a data set is, which of its files are read, and the lines that put it into a recipe."""
    from mm15.datasets._registry import entry_of, recipe_lines

    entry = entry_of(name)
    about = [
        f"{entry.title} ({entry.name}), {entry.category}, stages: {', '.join(entry.stages)}",
        f"licence: {entry.licence}",
        f"home: {entry.home}",
        f"used by: {', '.join(entry.papers) or 'neither paper'} ({entry.confidence})",
        *([entry.notes] if entry.notes else []),
    ]
    show(entry.model_dump(mode="json"), as_json, "\n".join([*about, *recipe_lines(entry)]))


@data_app.command("recaption")
def data_recaption(
    bundle: Annotated[Path, typer.Argument(help="A bundle or run folder, best of a captioner recipe.")],
    images: Annotated[Path, typer.Option(help="A folder of pictures, a sources.yaml, a recipe, or data files.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; the same command continues an interrupted one.")],
    prompt: Annotated[str, typer.Option(help="What is asked; without it the picture opens a document.")] = "",
    keep: Annotated[int, typer.Option(help="About how many captions shall stay, balanced by concept; 0: all.")] = 0,
    per_concept: Annotated[float, typer.Option(help="Instead: about how many a concept may keep; 0: all.")] = 0,
    concepts: Annotated[
        Path | None, typer.Option(help="Words and phrases to balance, one a line; default: the captions' own.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest caption.")] = 128,
    keep_cut: Annotated[bool, typer.Option(help="Keep captions that were cut off there.")] = False,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest word.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of draws and balance.")] = 0,
    part: Annotated[
        str, typer.Option(help="I/K: caption pictures I, I + K, ...; several machines share a set.")
    ] = "0/1",
    limit: Annotated[int, typer.Option(help="Only the first so many pictures; 0: all.")] = 0,
    max_bad: Annotated[float, typer.Option(help="Share of pictures that may be unusable.")] = 0.01,
    format: Annotated[str, typer.Option(help="Of data files, e.g. wds-pairs.")] = "",
    data: Annotated[Path, typer.Option(help="Folder that a recipe's source paths start from.")] = Path(),
    as_json: Json = False,
) -> None:
    """Caption pictures with a bundle and keep a set that is balanced by concept."""
    from mm15.bundle import load_bundle
    from mm15.curate.balance import read_concepts
    from mm15.curate.pictures import pictures_of
    from mm15.curate.recaption import Settings, digest_of, parse_part, recaption

    settings = Settings(
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        per_concept=per_concept,
        keep=keep,
        concepts=read_concepts(concepts) if concepts else None,
        keep_cut=keep_cut,
        max_bad=max_bad,
        part=parse_part(part),
        limit=limit,
    )
    loaded = load_bundle(bundle)
    pictures = pictures_of(images, format, data)
    made = recaption(loaded, digest_of(bundle), pictures, out, settings, lambda line: print(line, file=sys.stderr))
    show(made, as_json, made.text())


def _short(size: int | None) -> str:
    """1_234_567 as 1.23M; unknown as a dash."""
    if size is None:
        return "-"
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g}{unit}"
    return str(size)
