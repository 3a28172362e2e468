"""What all verbs share: how a result is printed for people and for programs."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
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
