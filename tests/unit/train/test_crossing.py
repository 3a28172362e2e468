"""Which saved rows a wanted parameter is made of."""

from __future__ import annotations

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorProperties, TensorStorageMetadata

from mm15.train.crossing import Piece, as_wanted, pieces_of

FUSED = {"a.qkv.weight": torch.Size([12, 5]), "a.qkv.bias": torch.Size([12]), "a.out.weight": torch.Size([5, 6])}
PARTS = {
    "a.qkv.part0.weight": torch.Size([6, 5]),
    "a.qkv.part1.weight": torch.Size([4, 5]),
    "a.qkv.part2.weight": torch.Size([2, 5]),
    "a.qkv.part0.bias": torch.Size([6]),
    "a.qkv.part1.bias": torch.Size([4]),
    "a.qkv.part2.bias": torch.Size([2]),
    "a.out.weight": torch.Size([5, 6]),
}


def test_parts_are_rows_of_the_whole():
    pieces = pieces_of(FUSED, PARTS)
    assert pieces["a.qkv.part1.weight"] == [Piece("a.qkv.weight", 6, 0, 4)]
    assert pieces["a.qkv.part2.bias"] == [Piece("a.qkv.bias", 10, 0, 2)]
    assert "a.out.weight" not in pieces, "what has its old name is read as ever"


def test_the_whole_is_its_parts_in_order():
    names = [f"a.qkv.part{index}.weight" for index in range(3)]
    assert pieces_of(PARTS, FUSED)["a.qkv.weight"] == [
        Piece(name, 0, row, rows) for name, row, rows in zip(names, (0, 6, 10), (6, 4, 2), strict=True)
    ]


def test_another_matrix_is_not_taken_for_the_same():
    other = {**FUSED, "a.qkv.weight": torch.Size([14, 5])}
    assert set(pieces_of(other, PARTS)) == {f"a.qkv.part{index}.bias" for index in range(3)}
    assert pieces_of({"b.qkv.weight": torch.Size([12, 5])}, PARTS) == {}


def entry(*shape: int, dtype: torch.dtype = torch.float32) -> TensorStorageMetadata:
    size = torch.Size(shape)
    return TensorStorageMetadata(
        TensorProperties(dtype=dtype), size, [ChunkStorageMetadata(torch.Size([0] * len(shape)), size)]
    )


def test_states_follow_their_parameter_and_counts_are_shared():
    saved = {
        "model/a.qkv.weight": entry(12, 5),
        "optimizer/a.qkv.weight/exp_avg": entry(12, 5, dtype=torch.bfloat16),
        "optimizer/a.qkv.weight/step": entry(),
        "model/b.weight": entry(3, 3),
    }
    wanted = {**{name: shape for name, shape in PARTS.items() if "qkv" in name and "weight" in name},
              "b.weight": torch.Size([3, 3])}  # fmt: skip
    told, pieces = as_wanted(saved, wanted)
    assert told["model/b.weight"] == (torch.Size([3, 3]), torch.float32)
    assert told["optimizer/a.qkv.part1.weight/exp_avg"] == (torch.Size([4, 5]), torch.bfloat16)
    assert told["optimizer/a.qkv.part2.weight/step"] == (torch.Size([]), torch.float32)
    assert not any(".qkv.weight" in name for name in told)
    assert pieces["optimizer/a.qkv.part1.weight/exp_avg"] == [Piece("optimizer/a.qkv.weight/exp_avg", 6, 0, 4)]
    assert pieces["optimizer/a.qkv.part1.weight/step"] == [Piece("optimizer/a.qkv.weight/step", 0, 0, 0)]
    assert "model/b.weight" not in pieces
