"""Checkpoints between layouts: tensor parallelism splits a fused matrix ``x.weight`` into ``x.part0.weight`` …, and a
run may go on with another layout than it was saved with. Rows are what both have: a part is some rows of the matrix.

Nothing is put together on the way. Every rank reads, of what was saved, the rows that meet its own part of what is
wanted, as DCP does between sharded layouts of one name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.tensor import DTensor

PART = re.compile(r"\.part(\d+)\.(weight|bias)$")
"""How the name of a part of a fused parameter ends."""


def fused_name(name: str) -> str:
    """Of the whole that a parameter is a part of; of any other its own."""
    match = PART.search(name)
    return f"{name[: match.start()]}.{match[2]}" if match else name


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a saved parameter that are rows of a wanted one."""

    saved: str
    saved_row: int
    wanted_row: int
    rows: int


def pieces_of(saved: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size]) -> dict[str, list[Piece]]:
    """Where the rows of each wanted parameter lie whose name was not saved: those of the same fused matrix, if the
    matrix has the same shape in both layouts. Others have no entry."""
    places: defaultdict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for name, first in _first_rows(saved).items():
        places[fused_name(name)].append((name, first, saved[name][0]))
    heights = [_heights(saved), _heights(wanted)]
    found = {}
    for name, first in _first_rows(wanted).items():
        fused = fused_name(name)
        if name in saved or heights[0].get(fused) != heights[1][fused]:
            continue
        end = first + wanted[name][0]
        meets = []
        for other, start, rows in places[fused]:
            begin, stop = max(first, start), min(end, start + rows)
            if begin < stop:
                meets.append(Piece(other, begin - start, begin - first, stop - begin))
        found[name] = meets
    return found


def _first_rows(shapes: Mapping[str, torch.Size]) -> dict[str, int]:
    """Of every parameter that has rows, its first one in the fused matrix."""
    parts: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for name, shape in shapes.items():
        if shape:
            match = PART.search(name)
            parts[fused_name(name)][int(match[1]) if match else 0] = name
    found = {}
    for numbered in parts.values():
        row = 0
        for _, name in sorted(numbered.items()):
            found[name] = row
            row += shapes[name][0]
    return found


def _heights(shapes: Mapping[str, torch.Size]) -> dict[str, tuple[int, ...]]:
    """Of every fused matrix: rows, then its other axes."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if shape:
            fused = fused_name(name)
            found[fused] = (found.get(fused, (0,))[0] + shape[0], *shape[1:])
    return found


def as_wanted(
    saved: Mapping[str, TensorStorageMetadata], parameters: Mapping[str, torch.Size]
) -> tuple[dict[str, tuple[torch.Size, torch.dtype]], dict[str, list[Piece]]]:
    """What a checkpoint holds (``model/<name>``, ``optimizer/<name>/<state>``), as if it had been saved with these
    parameters: shape and dtype by name; and for names that were saved otherwise, where their rows lie.

    A state that has the shape of its parameter is split or joined like it. Another, such as a count of steps, is the
    same for all parts.
    """
    shapes = {name.removeprefix("model/"): entry.size for name, entry in saved.items() if name.startswith("model/")}
    moved = pieces_of(shapes, parameters)
    gone = {piece.saved for pieces in moved.values() for piece in pieces}
    states: defaultdict[str, dict[str, TensorStorageMetadata]] = defaultdict(dict)
    told: dict[str, tuple[torch.Size, torch.dtype]] = {}
    for name, entry in saved.items():
        kind, parameter, *state = name.split("/")
        if parameter in gone:
            states[parameter][f"{kind}/%s" + "".join(f"/{key}" for key in state)] = entry
        else:
            told[name] = entry.size, entry.properties.dtype
    found: dict[str, list[Piece]] = {}
    for parameter, pieces in moved.items():
        for form, entry in states[pieces[0].saved].items():
            name = form % parameter
            like = entry.size == shapes[pieces[0].saved]
            told[name] = parameters[parameter] if like else entry.size, entry.properties.dtype
            first = Piece(pieces[0].saved, 0, 0, 0)
            found[name] = [replace(piece, saved=form % piece.saved) for piece in (pieces if like else [first])]
    return told, found


class Crossing(DefaultLoadPlanner):
    """Reads what lies under other names; every other tensor as DCP does.

    Args:
        pieces: by name in the state dict, from ``as_wanted``.
    """

    def __init__(self, pieces: Mapping[str, list[Piece]]) -> None:
        super().__init__()
        self.pieces = pieces

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        items: list[ReadItem] = []
        for name, tensor in self.state_dict.items():
            if isinstance(tensor, DTensor) and tensor.device_mesh.get_coordinate() is None:
                continue
            whole = Piece(name, 0, 0, tensor.shape[0] if tensor.ndim else 0)
            for piece in self.pieces.get(name, [whole]):
                entry = self.metadata.state_dict_metadata[piece.saved]
                assert isinstance(entry, TensorStorageMetadata)
                items += _reads(name, tensor, piece, entry)
        return LoadPlan(items)


def _reads(name: str, tensor: Tensor, piece: Piece, entry: TensorStorageMetadata) -> Iterator[ReadItem]:
    for index, chunk in enumerate(_chunks(tensor)):
        here = MetadataIndex(name, chunk.offsets, index)
        shift = 0
        if tensor.ndim and piece.rows:
            first, last = chunk.offsets[0], chunk.offsets[0] + chunk.sizes[0]
            begin, end = max(first, piece.wanted_row), min(last, piece.wanted_row + piece.rows)
            if begin >= end:
                continue
            shift = begin - first
            row = begin - piece.wanted_row + piece.saved_row
            chunk = ChunkStorageMetadata(
                torch.Size((row, *chunk.offsets[1:])), torch.Size((end - begin, *chunk.sizes[1:]))
            )
        for item in create_read_items_for_chunk_list(piece.saved, entry, [chunk]):
            offsets = list(item.dest_offsets)
            if offsets:
                offsets[0] += shift
            yield replace(item, dest_index=here, dest_offsets=torch.Size(offsets))


def _chunks(tensor: Tensor) -> list[ChunkStorageMetadata]:
    """Where this rank's part of a tensor lies in the whole."""
    if isinstance(tensor, DTensor):
        return tensor.__create_chunk_list__()
    return [ChunkStorageMetadata(torch.Size([0] * tensor.ndim), tensor.size())]
