"""The verbs that carry weights between projects. Heavy imports live inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, aside, show


def import_model(
    vision: Annotated[Path, typer.Option(help="Folder of an image encoder: CLIP, SigLIP, open_clip or timm.")],
    llm: Annotated[Path, typer.Option(help="Folder of a language model, with its tokenizer.json.")],
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    connector: Annotated[
        Path | None, typer.Option(help="Bundle whose connector is taken; by default it is new.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Pixels of a tile's side; by default what the encoder was trained with.")
    ] = None,
    template: Annotated[
        str, typer.Option(help="auto: the model's own chat template; or chatml, or plain (mm15's).")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 for half the space.")] = "float32",
    max_tokens: Annotated[int, typer.Option(help="Longest sample.")] = 4096,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change the new connector: connector.tokens=81 (repeatable).")
    ] = None,
    tags: Annotated[
        bool, typer.Option("--tags", help="Add the tokens of Idefics3's tags and split as it does (--to idefics3).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the new connector.")] = 0,
    as_json: Json = False,
) -> None:
    """Start from open weights: an encoder and a language model become a bundle to train."""
    from mm15.transfer.importing import import_bundle

    with aside(as_json):
        made = import_bundle(
            vision, llm, out, connector, tile, template, dtype, max_tokens, tuple(changes or ()), seed, tags=tags
        )
    text = "\n".join(
        [
            f"{out}: {made.vision} encoder with {made.tile} px tiles + {made.llm}, {made.parameters:,} parameters",
            *(f"licence of {note}" for note in made.licences),
            "The connector is new, so train it.",
            f"Next: mm15 train RECIPE --from {out} --set split.tile={made.tile} --out RUN",
        ]
    )
    show(made, as_json, text)


def convert_weights(
    place: Annotated[Path, typer.Argument(help="A folder with pickled weights (.bin, .pt), or one such file.")],
    as_json: Json = False,
) -> None:
    """Turn pickled weights into safetensors, in a process of its own that loads nothing but tensors."""
    from mm15.interop.unpickle import convert_weights

    written = [str(path) for path in convert_weights(place)]
    lines = [*(f"written: {path}" for path in written), "Next: mm15 import --vision DIR --llm DIR --out BUNDLE"]
    show({"written": written}, as_json, "\n".join(lines))
