"""Keys and values of the sequences being generated.

Legend: S sequences, G key/value heads, L places, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class KVCache:
    """Room for ``capacity`` positions of each of S sequences of different lengths, one pair of tensors per layer."""

    def __init__(
        self,
        num_sequences: int,
        capacity: int,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (num_sequences, num_kv_heads, capacity, head_dim)
        self.keys_SGLD = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.values_SGLD = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.capacity = capacity
        self.lengths: list[int] = [0] * num_sequences

    @property
    def num_sequences(self) -> int:
        """Sequences held now."""
        return len(self.lengths)

    def reserve(self, more: Sequence[int]) -> None:
        """Count ``more[s]`` new positions of sequence s; their keys and values are written by the layers.

        Raises:
            ValueError: the number of sequences differs, or one would outgrow the capacity.
        """
        if len(more) != self.num_sequences:
            raise ValueError(f"{len(more)} sequences for a cache of {self.num_sequences}")
        lengths = [length + count for length, count in zip(self.lengths, more, strict=True)]
        if max(lengths, default=0) > self.capacity:
            raise ValueError(f"a sequence would grow to {max(lengths)} positions; the cache holds {self.capacity}")
        self.lengths = lengths

    def write(self, layer: int, sequence_T: Tensor, place_T: Tensor, keys_TGD: Tensor, values_TGD: Tensor) -> None:
        """Put the key and value of position t at place ``place_T[t]`` of sequence ``sequence_T[t]``."""
        self.keys_SGLD[layer][sequence_T, :, place_T] = keys_TGD
        self.values_SGLD[layer][sequence_T, :, place_T] = values_TGD

    def keep(self, sequences: Sequence[int]) -> None:
        """Drop every sequence but these, in this order."""
        index = torch.tensor(sequences, dtype=torch.long, device=self.keys_SGLD[0].device)
        self.keys_SGLD = [keys.index_select(0, index) for keys in self.keys_SGLD]
        self.values_SGLD = [values.index_select(0, index) for values in self.values_SGLD]
        self.lengths = [self.lengths[sequence] for sequence in sequences]
