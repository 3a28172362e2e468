"""The verbs of models themselves: describe, upcycle. Heavy imports live inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mm15.cli_show import Json, aside, show


def describe(
    model: Annotated[str, typer.Argument(help="A named size (mini, 1b, 3b, 3b-moe, ...), or a bundle or run folder.")],
    as_json: Json = False,
) -> None:
    """Parameters, tokens and FLOPs of a picture under each splitting rule, memory. Reads no weights."""
    from mm15.transfer.describing import describe_model, text_of

    described = describe_model(model)
    is_size = not Path(model).exists()
    following = "mm15 import --vision DIR --llm DIR --out BUNDLE" if is_size else f"mm15 chat {model} --image PICTURE"
    show(described, as_json, f"{text_of(described)}\nNext: {following}")


def upcycle(
    bundle: Annotated[Path, typer.Argument(help="A bundle or run folder with a dense decoder.")],
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    experts: Annotated[int, typer.Option(help="Experts of a layer.")] = 64,
    every: Annotated[int, typer.Option(help="Every so many layers one has experts.")] = 2,
    top_k: Annotated[int, typer.Option(help="Experts that a token meets.")] = 2,
    capacity: Annotated[
        float, typer.Option(help="Factor on tokens / experts that an expert takes in training; 0: no limit.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of the routers.")] = 0,
    as_json: Json = False,
) -> None:
    """Copy every second feed-forward network into experts. The new model says what the old one said; then train it."""
    from mm15.base.config import validate
    from mm15.model.sizes import MoEConfig
    from mm15.transfer.upcycle import upcycle_bundle

    raw = {"experts": experts, "every": every, "top_k": top_k, "capacity": capacity or None}
    with aside(as_json):
        result = upcycle_bundle(bundle, out, validate(MoEConfig, raw, "upcycling"), seed)
    text = (
        f"{out}: {result.experts} experts in layers {', '.join(map(str, result.layers))}; {result.parameters:,} "
        f"parameters, {result.active:,} of them for a token; largest difference of logits {result.difference:.2g}\n"
        f"Next: mm15 train RECIPE --from {out} --out RUN"
    )
    show(result, as_json, text)
