"""Keys and values of the sequences being generated, in pages that sequences take as they grow and give back at once.

Legend: S sequences, G key/value heads, P places of a page, D head width, T new positions.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import torch
from torch import Tensor

PAGE = 32
"""Places of a page: a sequence wastes half a page on average, and a product over a page is one call of the kernel."""


class KVCache:
    """One pool of pages for all sequences; one tensor ``[2, pages, G, P, D]`` (keys, values) per layer.

    A sequence is opened with the most positions it may ever hold. So many pages are promised to it, and it can never
    fail to grow; it takes them, lowest first, when it reaches them. The pages in use so stay close together.
    """

    def __init__(
        self,
        num_pages: int,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        page: int = PAGE,
    ) -> None:
        shape = (2, num_pages, num_kv_heads, page, head_dim)
        # Zeros and not garbage: a masked place has weight 0, and 0 times a value that is no number is none either.
        self.layers = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.page, self.num_pages = page, num_pages
        self.free = list(range(num_pages))
        self.promised = 0
        self.lengths: list[int] = []
        self.capacities: list[int] = []
        self.tables: list[list[int]] = []

    @property
    def num_sequences(self) -> int:
        """Sequences held now."""
        return len(self.lengths)

    def pages_for(self, places: int) -> int:
        """Pages that hold ``places`` positions."""
        return math.ceil(places / self.page)

    def fits(self, capacity: int) -> bool:
        """Whether a sequence of at most ``capacity`` positions can be opened now."""
        return self.promised + self.pages_for(capacity) <= self.num_pages

    def open(self, capacity: int) -> int:
        """A new empty sequence of at most ``capacity`` positions, behind the others; its row.

        Raises:
            ValueError: the pages that are not promised yet do not suffice.
        """
        if not self.fits(capacity):
            raise ValueError(
                f"a sequence of {capacity} positions needs {self.pages_for(capacity)} pages; "
                f"{self.num_pages - self.promised} of {self.num_pages} are not promised"
            )
        self.promised += self.pages_for(capacity)
        self.lengths.append(0)
        self.capacities.append(capacity)
        self.tables.append([])
        return self.num_sequences - 1

    def reserve(self, more: Sequence[int]) -> None:
        """Count ``more[s]`` new positions of sequence s; their keys and values are written by the layers.

        Raises:
            ValueError: the number of sequences differs, or one would outgrow its capacity.
        """
        if len(more) != self.num_sequences:
            raise ValueError(f"{len(more)} sequences for a cache of {self.num_sequences}")
        lengths = [length + count for length, count in zip(self.lengths, more, strict=True)]
        for length, capacity in zip(lengths, self.capacities, strict=True):
            if length > capacity:
                raise ValueError(f"a sequence would grow to {length} positions; the cache holds {capacity}")
        self.lengths = lengths
        for table, length in zip(self.tables, lengths, strict=True):
            while len(table) * self.page < length:
                table.append(heapq.heappop(self.free))

    def write(self, layer: int, page_T: Tensor, offset_T: Tensor, kv_TEGD: Tensor) -> None:
        """Put key and value (E = 2) of position t at place ``offset_T[t]`` of page ``page_T[t]``."""
        self.layers[layer][:, page_T, :, offset_T] = kv_TEGD

    def read(self, layer: int, row: int) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values of one sequence, [G, L, D] each."""
        index = torch.tensor(self.tables[row], device=self.layers[layer].device)
        whole = self.layers[layer].index_select(1, index).transpose(1, 2).flatten(2, 3)
        keys_GLD, values_GLD = whole[:, :, : self.lengths[row]].unbind(0)
        return keys_GLD, values_GLD

    def keep(self, sequences: Sequence[int]) -> None:
        """Drop every sequence but these, in this order. The pages of the others are free at once; nothing is moved."""
        for row in set(range(self.num_sequences)) - set(sequences):
            self.promised -= self.pages_for(self.capacities[row])
            for page in self.tables[row]:
                heapq.heappush(self.free, page)
        self.lengths = [self.lengths[row] for row in sequences]
        self.capacities = [self.capacities[row] for row in sequences]
        self.tables = [self.tables[row] for row in sequences]
