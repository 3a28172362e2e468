"""What all verbs share: how a result is printed for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def show(value: Any, as_json: bool, text: str) -> None:
    """Print a result for people or for programs."""
    if as_json:
        print(json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value, default=str))
    else:
        print(text)


def aside(as_json: bool) -> AbstractContextManager[Any]:
    """Where a verb works: what it says on the way goes to stderr if stdout is to hold one JSON object."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with what is done, how fast, and the time left, on stderr; nothing where stderr is no terminal.

    Gives a function that is told (done, in all).
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None, rate="")

        def tell(done: int, total: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, total=total, rate=f"{speed:,.0f} rows/s" if speed else "")

        yield tell
