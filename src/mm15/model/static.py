"""One token for every sequence by a pass whose shapes and addresses do not change: CUDA replays it as a graph.

A decode step of a small batch is hundreds of short kernels, and starting them one by one from Python takes longer than
running them. A graph starts them all at once; what differs from step to step is written into one tensor before.

Legend: S sequences, M pages of each, P places of a page, L = M P, G key/value heads, R query heads of each, H = G R,
N = H + 2 G, D head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mm15.model.cache import KVCache
from mm15.model.experts import groups_on
from mm15.model.layers import Rotation
from mm15.model.moe import MoE, Routings
from mm15.model.rope import rope_frequencies

if TYPE_CHECKING:
    from mm15.model.multimodal import MultimodalModel

CAPTURE_AT = 3
"""A shape is captured when it is wanted for this time: capturing costs about three steps, and short answers none."""

MOST_PLACES = 32_768
"""Beyond so many places of all sequences, rounded up, steps are not taken this way: bringing their keys together
costs three times the reading of them in place, and kernels are long enough to hide how they start. An estimate."""


class StaticDecode:
    """Decode steps over a cache, for the life of both. Sequences and pages are rounded up to powers of two, so that a
    few graphs serve all steps. On other devices than CUDA the same pass runs as it is, which is how it is proven.

    Raises:
        ValueError: as ``KVCache.reserve``, at a step.
    """

    def __init__(self, model: MultimodalModel, cache: KVCache) -> None:
        self.model, self.cache = model, cache
        self.device = next(model.parameters()).device
        self.frequencies = rope_frequencies(model.config.decoder, self.device)
        self.captures = self.device.type == "cuda" and all(
            groups_on(torch.empty(0, dtype=model.compute_dtype, device=self.device), module.down.weight)
            for module in model.modules()
            if isinstance(module, MoE)
        )
        self._pool: Any = None
        self._wanted: Counter[tuple[int, int]] = Counter()
        self._graphs: dict[tuple[int, int], tuple[Tensor, Callable[[], Tensor]]] = {}

    def suits(self) -> bool:
        """Whether the sequences in the cache are so few and short that a step is better taken this way."""
        rows, pages = self._shape(self.cache.num_sequences, self.cache.pages_for(max(self.cache.lengths) + 1))
        return rows * pages * self.cache.page <= MOST_PLACES

    def _shape(self, rows: int, pages: int) -> tuple[int, int]:
        return _power_of_two(rows), min(_power_of_two(pages), self.cache.num_pages)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every sequence of the cache; logits [S, V] of the token after it, which are overwritten
        at the next step."""
        cache, count = self.cache, len(tokens)
        cache.reserve([1] * count)
        shape = rows, pages = self._shape(count, max(map(len, cache.tables)))
        lines = [
            [token, length, *table, *[0] * (pages - len(table))]
            for token, length, table in zip(tokens, cache.lengths, cache.tables, strict=True)
        ]
        # Idle rows repeat the first: they write what it writes, where it writes.
        told = torch.tensor(lines + lines[:1] * (rows - count))
        self._wanted[shape] += 1
        if self.captures and shape not in self._graphs and self._wanted[shape] >= CAPTURE_AT:
            self._graphs[shape] = self._capture(told.to(self.device))
        if shape not in self._graphs:
            return self._pass(told.to(self.device))[:count]
        told_SX, replay = self._graphs[shape]
        told_SX.copy_(told)
        return replay()[:count]

    def _pass(self, told_SX: Tensor) -> Tensor:
        model = self.model
        step = StaticStep(model, self.cache, self.frequencies, told_SX)
        return model.decoder.head(model.decoder(model.decoder.embed(told_SX[:, 0], model.compute_dtype), step))

    def _capture(self, told_SX: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        # Libraries make their workspaces at first use, which must not happen inside a capture. The pass may be
        # repeated: it writes the same keys and values into the same places.
        aside = torch.cuda.Stream(self.device)
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):
            self._pass(told_SX)
        torch.cuda.current_stream(self.device).wait_stream(aside)
        # One pool of memory for all graphs: they run one at a time, and nothing is read later than the step after.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits_SV = self._pass(told_SX)

        def replay() -> Tensor:
            graph.replay()
            return logits_SV

        return told_SX, replay


class StaticStep:
    """The pass over one token of every row; ``told_SX``: token, length with it, and pages of every row."""

    def __init__(
        self, model: MultimodalModel, cache: KVCache, frequencies: tuple[Tensor, float], told_SX: Tensor
    ) -> None:
        config, page = model.config.decoder, cache.page
        self.routing: Routings | None = None
        self.cache, self.heads, self.kv_heads = cache, config.heads, config.kv_heads
        self.scale, self.rows = config.head_dim**-0.5, len(told_SX)
        length_S, table_SM = told_SX[:, 1], told_SX[:, 2:]
        place_S = length_S - 1
        self.page_S = table_SM.gather(1, (place_S // page)[:, None])[:, 0]
        self.offset_S = place_S % page
        self.rotation = Rotation(place_S, frequencies, model.compute_dtype)
        place_L = torch.arange(table_SM.shape[1] * page, device=told_SX.device)
        seen_SL = place_L < length_S[:, None]
        if config.window is not None:
            seen_SL &= place_L >= length_S[:, None] - config.window
        mask_SL = torch.zeros(seen_SL.shape, dtype=model.compute_dtype, device=told_SX.device)
        self.mask_S11L = mask_SL.masked_fill_(~seen_SL, -math.inf)[:, None, None]
        # Blocks of one page and head, in the order of each sequence: one gather brings its keys and values together.
        both = torch.arange(2, device=told_SX.device).view(2, 1, 1, 1) * cache.num_pages
        group = torch.arange(config.kv_heads, device=told_SX.device).view(1, 1, -1, 1)
        self.blocks = ((both + table_SM[None, :, None]) * config.kv_heads + group).flatten()

    def attend(self, layer: int, qkv_SND: Tensor) -> Tensor:
        """[S, N, D] → [S, H, D] over everything cached so far and the new positions themselves."""
        groups, head_dim = self.kv_heads, qkv_SND.shape[-1]
        self.cache.write(layer, self.page_S, self.offset_S, qkv_SND[:, self.heads :].unflatten(1, (2, groups)))
        pool = self.cache.layers[layer]
        if self.cache.num_pages == 1:
            kv = pool[:, :1].expand(
                2, self.rows, *pool.shape[2:]
            )  # One sequence in one page: nothing to bring together.
        else:
            kv = pool.flatten(0, 2).flatten(1).index_select(0, self.blocks).view(2, self.rows, groups, -1, head_dim)
        keys_SGLD, values_SGLD = kv.unbind(0)
        # The heads of a group are more rows of one product: their keys are read once.
        q_SGRD = qkv_SND[:, : self.heads].unflatten(1, (groups, -1))
        return F.scaled_dot_product_attention(q_SGRD, keys_SGLD, values_SGLD, self.mask_S11L, scale=self.scale).flatten(
            1, 2
        )


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
