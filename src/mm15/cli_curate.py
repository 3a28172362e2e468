"""The verbs that make data sets better: recaption, decontaminate. Heavy imports live inside a verb."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_data import Folder, Format, OfCategory, Set, data_app
from mm15.cli_engine import Address, Kind, Workers, working
from mm15.cli_show import Json, progress_of, show

__all__ = ["data_app"]
"""All verbs of data sets, these two among them."""


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
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Caption pictures with a bundle and keep a set that is balanced by concept. Every worker holds the model."""
    from functools import partial

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
    load, digest = partial(load_bundle, bundle), digest_of(bundle)
    pictures = pictures_of(images, format, data)
    with working(engine, address, workers) as who:
        made = recaption(load, digest, pictures, out, settings, who, lambda line: print(line, file=sys.stderr))
    show(made, as_json, made.text())


@data_app.command("decontaminate")
def data_decontaminate(
    path: Annotated[str, typer.Argument(help="Data files, a built folder, or a recipe.")],
    against: Annotated[
        list[str], typer.Option(help="What to keep apart from, e.g. a benchmark: as PATH (repeatable).")
    ],
    format: Format = "",
    category: OfCategory = "",
    against_format: Annotated[str, typer.Option(help="Of data files in --against; by default --format.")] = "",
    data: Folder = Path(),
    changes: Set = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the rows that do not overlap, in the form their files have.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write every pair here, one JSON object a line.")] = None,
    by: Annotated[str, typer.Option(help="What must be shared: picture, question, either, or both.")] = "either",
    bits: Annotated[int, typer.Option(help="Of 64-bit picture hashes, how many may differ.")] = 6,
    ngram: Annotated[int, typer.Option(help="Words of an n-gram.")] = 13,
    containment: Annotated[float, typer.Option(help="Share of a question's n-grams that must be found.")] = 0.5,
    engine: Kind = "pool",
    address: Address = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Find rows that share pictures or questions with benchmarks or other splits, and write the others."""
    from mm15.curate.decontaminate import Rule, decontaminate
    from mm15.data.open import sources_of
    from mm15.io.jsonl import write_jsonl

    rule = Rule(bits, ngram, containment, by)
    sources = sources_of(path, format, category, data, changes or ())
    kept_apart = []
    for one in against:
        kept_apart += sources_of(one, *_of_files(one, against_format or format, category), data)
    with working(engine, address, workers) as who, progress_of("decontaminate") as tell:
        found = decontaminate(sources, kept_apart, rule, out, who, tell)
    if report:
        write_jsonl(report, (asdict(pair) for pair in found.pairs))
    following = f"mm15 data check {out}" if out else f"{path} without them: --out NEW-FOLDER"
    show(found.to_json() if as_json else None, as_json, f"{found.text()}\nNext: {following}")


def _of_files(path: str, format: str, category: str) -> tuple[str, str]:
    """Format and category for what is compared against, where it is data files; their category decides nothing."""
    if path.endswith((".yaml", ".yml")) or Path(path, "sources.yaml").is_file():
        return "", ""
    return format, category or ("general" if format else "")
