"""The verbs of data sets: build, list, show, stats, check, convert, view. Heavy imports live inside a verb."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_engine import Address, Kind, Workers, working
from mm15.cli_show import Json, progress_of, show

data_app = typer.Typer(help="Data sets: those of the papers, and building small ones.", no_args_is_help=True)


@data_app.command("build")
def data_build(
    out: Annotated[Path, typer.Option(help="New folder to write data sets into.")],
    name: Annotated[
        str,
        typer.Argument(
            help="pdf, charts, scenes, interleaved, text, screens, clips, mini-suite; else the quickstart's data."
        ),
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
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 0,
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

        if inputs or n or heldout or formats or size or fetch or workers or (engine, address) != ("pool", ""):
            raise ConfigError(
                ["the quickstart's data sets take --out, --seed, --pdf and --tiny only"], "mm15 data build"
            )
        reports = build_data(out, seed=seed, pdfs=pdf, tiny=tiny)
        lines = [f"{report['split']:<8} {report['name']:<28} {report['rows']:>7} rows" for report in reports]
        lines.append(f"Next: mm15 train encoder-mini --data {out}/train --out RUN")
        show(reports, as_json, "\n".join(lines))
        return
    if name == "mini-suite":
        if inputs or n or heldout or formats or size or fetch or pdf or tiny or seed:
            raise ConfigError(["the mini suite is the same for everybody: give --out only"], f"mm15 data build {name}")
        _mini_suite(out, workers, as_json)
        return
    from mm15.build._fetch import fetch as fetch_packages
    from mm15.build._sets import Request, build_set, told

    if pdf or tiny:
        raise ConfigError(["--pdf and --tiny are the quickstart's; give --input and --n"], f"mm15 data build {name}")
    fetched = fetch_packages(name, lambda line: print(line, file=sys.stderr)) if fetch else []
    with working(engine, address, workers) as who:
        request = Request((*(inputs or ()), *fetched), n, seed, heldout, tuple(formats or ()), size, who)
        report = build_set(name, out, request)
    show(report, as_json, "\n".join(told(report, out)))


def _mini_suite(out: Path, workers: int, as_json: bool) -> None:
    """Build it, and say whether it came out as the fixed one."""
    from mm15.build._mini_suite import build_suite
    from mm15.evals.fixed import is_fixed, state_of

    reports = build_suite(out, workers)
    rows = [
        {"name": report.name, "rows": report.rows, "seconds": round(report.seconds, 2),
         "fixed": state_of(out / f"{report.name}.jsonl")}
        for report in reports
    ]  # fmt: skip
    lines = [
        f"{row['name']:<20} {row['rows']:>5} questions, a score of 50 has a standard error of "
        f"{50 / row['rows'] ** 0.5:.1f}; {row['fixed']}"
        for row in rows
    ]
    whole = all(is_fixed(row["fixed"]) for row in rows)
    lines.append("This is the fixed mini suite." if whole else "This is NOT the fixed mini suite: see above.")
    lines.append(f"Next: mm15 eval BUNDLE --data {out}")
    show(rows, as_json, "\n".join(lines))


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


def _short(size: int | None) -> str:
    """1_234_567 as 1.23M; unknown as a dash."""
    if size is None:
        return "-"
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g}{unit}"
    return str(size)


Format = Annotated[str, typer.Option("--format", help="Of data files: a format, or a name from `mm15 data list`.")]
OfCategory = Annotated[str, typer.Option("--category", help="Of data files, e.g. text_rich.")]
Folder = Annotated[Path, typer.Option("--data", help="Folder that a recipe's source paths start from.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a source or recipe: a.b=value (repeatable).")]
Words = Annotated[str, typer.Option("--tokenizer", help="A tokenizer.json, or a bundle.")]


@data_app.command("stats")
def data_stats(
    path: Annotated[str, typer.Argument(help="Data files, a built folder, or a recipe.")],
    format: Format = "",
    category: OfCategory = "",
    data: Folder = Path(),
    changes: Set = None,
    tokenizer: Words = "",
    out: Annotated[Path | None, typer.Option(help="Also write a page with plots here.")] = None,
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Count samples, pictures, tiles and tokens by source and category; nothing is decoded."""
    from mm15.data.open import open_path
    from mm15.data.reading import reader_of
    from mm15.data.stats import as_page, as_text, collect
    from mm15.io.atomic import write_atomic

    opened = open_path(path, format, category, data, changes or ())
    reader = reader_of(opened, tokenizer)
    with working(engine, address, workers) as who:
        stats = collect(opened.sources, reader.processor, reader.told, lambda told: print(told, file=sys.stderr), who)
    if out:
        write_atomic(out, as_page(stats, f"Statistics of {path}"))
    text = as_text(stats) + (f"\nplots: {out}" if out else "")
    show(stats.values(), as_json, f"{text}\nNext: mm15 data view {path}")


MaxBad = Annotated[
    float | None,
    typer.Option("--max-bad", help="Share of a source's rows that may be bad; default 0.01 or the recipe's.", min=0),
]


@data_app.command("check")
def data_check(
    path: Annotated[str, typer.Argument(help="Data files, a built folder, or a recipe.")],
    format: Format = "",
    category: OfCategory = "",
    data: Folder = Path(),
    changes: Set = None,
    write_clean: Annotated[
        Path | None, typer.Option("--write-clean", help="New folder for the good rows, in the form their files have.")
    ] = None,
    max_bad: MaxBad = None,
    decode: Annotated[bool, typer.Option(help="Decode every picture, or look at headers only.")] = True,
    report: Annotated[Path | None, typer.Option(help="Write every fault here, one JSON object a line.")] = None,
    tokenizer: Words = "",
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Read every row once and report all that is wrong, with place, row and fix; ends with 1 if too much is."""
    from mm15.data.check import check
    from mm15.data.open import open_path
    from mm15.io.jsonl import write_jsonl

    opened = open_path(path, format, category, data, changes or ())
    processor = None
    if tokenizer or (opened.recipe and (opened.folder / opened.recipe.get("tokenizer", "tokenizer.json")).is_file()):
        from mm15.data.reading import reader_of

        processor = reader_of(opened, tokenizer).processor
    with working(engine, address, workers) as who, progress_of("check") as tell:
        found = check(opened.sources, max_bad, decode, write_clean, who, processor, tell)
    if report:
        write_jsonl(report, (fault._asdict() for fault in found.faults))
    mend = f"mend what is named above, or keep the good rows: mm15 data check {path} --write-clean NEW-FOLDER"
    following = mend if found.faults else f"mm15 data view {path}"
    show(found.to_json() if as_json else None, as_json, f"{found.text()}\nNext: {following}")
    if not found.ok:
        raise typer.Exit(1)


@data_app.command("convert")
def data_convert(
    path: Annotated[str, typer.Argument(help="Data files, a built folder, or a recipe.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards; finished ones in it are kept.")],
    format: Format = "",
    category: OfCategory = "",
    data: Folder = Path(),
    changes: Set = None,
    shard_rows: Annotated[int, typer.Option(help="Rows of the source in one shard.", min=1)] = 1000,
    max_bad: MaxBad = None,
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Write any readable source as tar shards of samples and their media (mm15-wds); goes on if interrupted."""
    from mm15.data.convert import convert
    from mm15.data.open import open_path

    opened = open_path(path, format, category, data, changes or ())
    with working(engine, address, workers) as who, progress_of("convert") as tell:
        done = convert(opened.sources, out, shard_rows, max_bad, who, tell)
    lines = [
        f"{one.name}: {one.rows:,} rows → {one.samples:,} samples in {one.shards:,} shards ({one.kept:,} were there), "
        f"{one.bytes / 2**20:,.1f} MiB, {len(one.faults):,} rows left out"
        for one in done
    ]
    lines += [f"  {fault}" for one in done for fault in one.faults]
    lines.append(f"Next: mm15 data check {out}")
    values = [asdict(one) | {"faults": [fault._asdict() for fault in one.faults]} for one in done]
    show({"out": str(out), "sources": values}, as_json, "\n".join(lines))


@data_app.command("view")
def data_view(
    path: Annotated[str, typer.Argument(help="Data files, a built folder, or a recipe.")],
    count: Annotated[int, typer.Option("-n", "--count", help="Samples, spread evenly over the sources.", min=1)] = 12,
    source: Annotated[list[str] | None, typer.Option(help="Only this source (repeatable).")] = None,
    row: Annotated[list[str] | None, typer.Option(help="This row: its number or address (repeatable).")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other samples.")] = 0,
    format: Format = "",
    category: OfCategory = "",
    data: Folder = Path(),
    changes: Set = None,
    tokenizer: Words = "",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("view.html"),
    as_json: Json = False,
) -> None:
    """Write a page of samples: pictures with boxes and tiles, tokens by what is trained, addresses."""
    from mm15.data.open import named, open_path
    from mm15.data.reading import reader_of
    from mm15.data.view import view_page
    from mm15.io.atomic import write_atomic

    opened = open_path(path, format, category, data, changes or ())
    reader = reader_of(opened, tokenizer)
    sources = named(opened.sources, source or ())
    page, seen = view_page(sources, reader.processor, count, seed, f"Rows of {path}", reader.told, row or ())
    write_atomic(out, page)
    bad = [one for one in seen if one.reason]
    first = {one.reason: one.address for one in reversed(bad)}
    counted = Counter(one.reason for one in bad)
    lines = [f"  {counted[reason]} cannot be used, first {first[reason]}: {reason}" for reason in counted]
    lines.append(f"{out}: {len(seen)} samples of {len(sources)} sources, {len(page.encode()) / 2**20:.1f} MiB")
    lines.append(f"Next: open {out}")
    show({"page": str(out), "samples": [asdict(one) for one in seen]}, as_json, "\n".join(lines))
