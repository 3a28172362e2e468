"""Name maps: which tensors of a saved file make up which of ours, in both directions.

A map is a list of entries written out in full for one config, so that comparing it with a file finds every missing,
extra and misshapen tensor before anything is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WRAPPERS = ("module.", "_orig_mod.")
"""What data parallelism and ``torch.compile`` put in front of every name."""


class Piece(NamedTuple):
    """A tensor of a saved file."""

    name: str
    shape: tuple[int, ...]


class Entry(NamedTuple):
    """One tensor of ours, and the tensors of theirs that hold its rows one after another.

    Shapes may differ in how the same numbers are cut up (a convolution kernel and our matrix over patches).
    """

    ours: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]


def entry(ours: str, shape: Sequence[int], *theirs: str) -> Entry:
    """An entry whose first axis is shared equally by ``theirs``; one of theirs has our shape."""
    rows = shape[0] // len(theirs)
    return Entry(ours, tuple(shape), tuple(Piece(name, (rows, *shape[1:])) for name in theirs))


def prefixed(entries: Iterable[Entry], ours: str = "", theirs: Callable[[str], str] = str) -> list[Entry]:
    """The same map inside a larger model: ``ours`` in front of our names, theirs renamed by a function."""
    return [
        Entry(ours + item.ours, item.shape, tuple(Piece(theirs(piece.name), piece.shape) for piece in item.pieces))
        for item in entries
    ]


def strip(name: str, prefixes: Iterable[str]) -> str:
    """A name without these prefixes, however often and in whichever order they stand there."""
    while found := next((prefix for prefix in prefixes if name.startswith(prefix)), ""):
        name = name.removeprefix(found)
    return name


def within(
    names: Iterable[str], scopes: Sequence[str] = (), wrappers: Sequence[str] = WRAPPERS
) -> tuple[dict[str, str], list[str]]:
    """The part of a checkpoint that a family describes.

    Args:
        names: of the file.
        scopes: prefixes under which the part may lie, the most telling first; where none is found, all is the part.
        wrappers: prefixes that are taken off every name before.

    Returns:
        name inside the part → name in the file; and the names outside.

    Raises:
        ValueError: two names of the file become one.
    """
    bare = {name: strip(name, wrappers) for name in names}
    scope = next((scope for scope in scopes if any(name.startswith(scope) for name in bare.values())), "")
    inside: dict[str, str] = {}
    for name, short in bare.items():
        if short.startswith(scope):
            inner = short.removeprefix(scope)
            if inner in inside:
                raise ValueError(f"'{name}' and '{inside[inner]}' are one name without their prefixes")
            inside[inner] = name
    return inside, [name for name, short in bare.items() if not short.startswith(scope)]


def compare(entries: Iterable[Entry], shapes: Mapping[str, Sequence[int]], ignored: Sequence[str] = ()) -> list[str]:
    """Everything by which a file differs from a map: missing, misshapen and unknown tensors, one sentence each.

    Args:
        ignored: patterns of names that may be there and are not read.
    """
    wanted = {piece.name: piece.shape for item in entries for piece in item.pieces}
    skip = re.compile("|".join(f"(?:{pattern})" for pattern in ignored) or "(?!)")
    problems = [f"tensor {name}: missing" for name in wanted if name not in shapes]
    problems += [
        f"tensor {name}: shape {list(shapes[name])}, expected {list(shape)}"
        for name, shape in wanted.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    problems += [
        f"tensor {name}: no part of this family"
        for name in sorted(shapes)
        if name not in wanted and not skip.search(name)
    ]
    return problems


def gather(
    entries: Iterable[Entry], read: Callable[[str], Tensor], dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Our tensors from theirs, one at a time. The file must have been compared with the map before."""
    for item in entries:
        parts = [read(piece.name) for piece in item.pieces]
        whole = parts[0] if len(parts) == 1 else torch.cat([part.reshape(-1) for part in parts])
        yield item.ours, whole.reshape(item.shape).to(dtype or whole.dtype, copy=True)


def scatter(entries: Iterable[Entry], state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors from ours, one at a time.

    Raises:
        KeyError: ``state`` lacks a tensor of ours.
        ValueError: one has another shape.
    """
    for item in entries:
        tensor = state[item.ours]
        if tuple(tensor.shape) != item.shape:
            raise ValueError(f"tensor {item.ours}: shape {list(tensor.shape)}, expected {list(item.shape)}")
        sizes = [torch.Size(piece.shape).numel() for piece in item.pieces]
        for piece, part in zip(item.pieces, tensor.reshape(-1).split(sizes), strict=True):
            yield piece.name, part.reshape(piece.shape)
