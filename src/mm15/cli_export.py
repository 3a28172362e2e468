"""The verb that gives models away. Heavy imports live inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, aside, show


def export_bundle(
    bundle: Annotated[Path, typer.Argument(help="A bundle or run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to make; one that is there is replaced.")],
    to: Annotated[str, typer.Option(help="hf (transformers and vLLM, with code), llava or idefics3 (without).")] = "hf",
    check: Annotated[
        bool,
        typer.Option("--verify", help="Compare logits and answers with the bundle; refuse the export if they differ."),
    ] = False,
    shard_gb: Annotated[
        float, typer.Option(help="Weights of more GB are written in several files with an index.", min=0)
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Write a bundle as a folder that transformers, vLLM and others load. See docs/EXPORT.md."""
    from dataclasses import asdict

    from mm15.bundle import load_bundle
    from mm15.transfer.exporting import LICENCE, export

    with aside(as_json):
        verified = export(load_bundle(bundle), out, to, check, round(shard_gb * 1e9))
    lines = [f"{out} is a folder of kind {to}.", LICENCE.strip()]
    if verified:
        lines.append(
            f"Verified: {verified.prompts} prompts, {verified.new_tokens} new tokens the same, logits within "
            f"{verified.logit_difference:.1e}, {verified.ties} answers part at a tie."
        )
    lines.append(f"Next: AutoModelForImageTextToText.from_pretrained({str(out)!r}), as docs/EXPORT.md shows")
    told = {"folder": str(out), "to": to, "verified": asdict(verified) if verified else None}
    show(told, as_json, "\n".join(lines))
