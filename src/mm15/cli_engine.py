"""Flags that verbs share: who works over many rows or pictures, and in which numbers a model answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mm15.dist.map import Engine

Kind = Annotated[str, typer.Option("--engine", help="pool: processes of this machine; ray: a Ray cluster.")]
Address = Annotated[str, typer.Option("--address", help="Of the Ray cluster; empty: one on this machine.")]
Workers = Annotated[int, typer.Option("--workers", help="Processes; 0: one for each core.", min=0)]

Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="bf16: faster, and answers may differ; fp32; by default weights as they are kept, and fp32 activations.",
    ),
]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Keep the decoder's weights as int8: half the memory of bf16, on a CPU only.")
]


@contextmanager
def working(kind: str, address: str, workers: int) -> Iterator[Engine]:
    """The engine, connected for all that a verb does.

    Raises:
        ConfigError: no such engine, or no cluster at the address.
        MissingExtra: engine ``ray`` without the package.
    """
    from mm15.dist.map import Engine

    engine = Engine(kind, address, workers)
    with engine.connected():
        yield engine
