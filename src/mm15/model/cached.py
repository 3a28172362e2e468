"""One pass over new positions of sequences whose past lies in the cache: prompts, parts of prompts, and single tokens.

Legend: T new positions, S sequences, Q pages, G key/value heads, R query heads of each, H = G R, N = H + 2 G, P places
of a page, D head width, L places of one sequence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mm15.model.attention import Segments, causal_attention
from mm15.model.cache import KVCache
from mm15.model.layers import Rotation
from mm15.model.moe import Routings
from mm15.model.rope import rope_frequencies
from mm15.model.sizes import DecoderConfig


class Step:
    """What all layers share about one pass; ``more[s]`` new positions of sequence s lie end to end in the stream.

    Three kinds of sequences go through it together. Whole prompts attend as in training. Parts of prompts attend to
    what was read before and to themselves. Single tokens attend page by page, in place: no key is moved.

    Raises:
        ValueError: as ``KVCache.reserve``, which this calls.
    """

    def __init__(
        self, config: DecoderConfig, cache: KVCache, more: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        starts = list(cache.lengths)
        cache.reserve(more)
        self.cache, self.heads, self.kv_heads = cache, config.heads, config.kv_heads
        self.routing: Routings | None = None
        places = [place for start, count in zip(starts, more, strict=True) for place in range(start, start + count)]
        tables = [table for table, count in zip(cache.tables, more, strict=True) for _ in range(count)]
        pages = [table[place // cache.page] for table, place in zip(tables, places, strict=True)]
        self.page_T = torch.tensor(pages, device=device)
        places_T = torch.tensor(places, device=device)
        self.offset_T = places_T % cache.page
        self.rotation = Rotation(places_T, rope_frequencies(config, device), dtype)

        borders = list(itertools.accumulate(more, initial=0))
        whole, single, self.parts = [], [], []
        for row, (start, count) in enumerate(zip(starts, more, strict=True)):
            if count == 1:
                single.append(row)
            elif count and not start:
                whole.append(row)
            elif count:
                seen = torch.ones(count, start + count, dtype=torch.bool, device=device).tril(start)
                if config.window is not None:
                    seen = seen.triu(start - config.window + 1)
                self.parts.append((row, borders[row], borders[row + 1], seen))
        self.single_T = torch.tensor([borders[row] for row in single], device=device)
        self.whole_T = torch.tensor(
            [place for row in whole for place in range(borders[row], borders[row + 1])], device=device
        )
        self.segments = None
        if whole:
            inner = list(itertools.accumulate((more[row] for row in whole), initial=0))
            self.segments = Segments(inner, config.heads, config.kv_heads, device, dtype, config.window)
        self.paged = _Paged(config, cache, single, dtype, device) if single else None

    def attend(self, layer: int, qkv_TND: Tensor) -> Tensor:
        """[T, N, D] → [T, H, D] over everything cached so far and the new positions themselves."""
        heads, kv_heads = self.heads, self.kv_heads
        self.cache.write(layer, self.page_T, self.offset_T, qkv_TND[:, heads:].unflatten(1, (2, kv_heads)))
        total = len(qkv_TND)
        if self.paged is not None and len(self.single_T) == total:
            return self.paged.attend(layer, qkv_TND[:, :heads])
        if self.segments is not None and len(self.whole_T) == total:
            return causal_attention(qkv_TND, self.segments)
        out_THD = qkv_TND.new_empty(total, heads, qkv_TND.shape[-1])
        if self.paged is not None:
            out_THD[self.single_T] = self.paged.attend(layer, qkv_TND[self.single_T, :heads])
        if self.segments is not None:
            out_THD[self.whole_T] = causal_attention(qkv_TND[self.whole_T], self.segments)
        for row, begin, end, seen in self.parts:
            keys_GLD, values_GLD = self.cache.read(layer, row)
            q_HTD = qkv_TND[begin:end, :heads].transpose(0, 1)
            out_HTD = F.scaled_dot_product_attention(
                q_HTD[None], keys_GLD[None], values_GLD[None], seen, enable_gqa=heads != kv_heads
            )[0]
            out_THD[begin:end] = out_HTD.transpose(0, 1)
        return out_THD


class _Paged:
    """One query per sequence over pages where they lie.

    Scores and weighted sums are products over pages in the order of the pool (a view of it where the pages in use are
    neighbours); only the scores, which are small, are brought into the order of each sequence for the softmax. A
    sequence that is alone and lies in one page is read by the fused kernel, which needs neither copy nor mask.
    """

    def __init__(
        self, config: DecoderConfig, cache: KVCache, rows: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.cache, self.kv_heads, self.scale = cache, config.kv_heads, config.head_dim**-0.5
        lengths = [cache.lengths[row] for row in rows]
        counts = [cache.pages_for(length) for length in lengths]
        self.most, self.num_rows = max(counts), len(rows)
        self.alone: tuple[int, slice] | None = None
        if counts == [1]:
            begin = 0 if config.window is None else max(0, lengths[0] - config.window)
            self.alone = cache.tables[rows[0]][0], slice(begin, lengths[0])
            return
        used = sorted(
            (page, place, order)
            for place, (row, count) in enumerate(zip(rows, counts, strict=True))
            for order, page in enumerate(cache.tables[row][:count])
        )
        self.first, self.num_used = used[0][0], len(used)
        is_run = used[-1][0] - self.first + 1 == len(used)
        self.pages_Q = None if is_run else torch.tensor([page for page, _, _ in used], device=device)
        owner = [place for _, place, _ in used]
        slots = [place * self.most + order for _, place, order in used]
        self.owner_Q = torch.tensor(owner, device=device)
        # Sequence order is page order where one sequence is alone, and wherever prompts came in one after another.
        self.is_ordered = slots == list(range(len(rows) * self.most))
        self.slots_Q = torch.tensor(slots, device=device)
        left_Q = torch.tensor([lengths[place] - order * cache.page for _, place, order in used], device=device)
        places_P = torch.arange(cache.page, device=device)
        unseen_QP = places_P >= left_Q[:, None]
        if config.window is not None:
            unseen_QP |= places_P < left_Q[:, None] - config.window
        mask_QP = torch.zeros(unseen_QP.shape, dtype=dtype, device=device).masked_fill(unseen_QP, -math.inf)
        self.mask_Q1P = mask_QP.repeat_interleave(self.kv_heads, dim=0)[:, None]

    def attend(self, layer: int, q_SHD: Tensor) -> Tensor:
        """[S, H, D] → [S, H, D]."""
        pool, page = self.cache.layers[layer], self.cache.page
        if self.alone is not None:
            keys_1GLD, values_1GLD = pool[:, None, self.alone[0], :, self.alone[1]]
            # The heads of a group are more rows of one product: their keys are read once.
            q_1GRD = q_SHD.unflatten(1, (self.kv_heads, -1))
            return F.scaled_dot_product_attention(q_1GRD, keys_1GLD, values_1GLD, scale=self.scale).flatten(1, 2)
        if self.pages_Q is None:
            kv = pool[:, self.first : self.first + self.num_used]
        else:
            kv = pool.index_select(1, self.pages_Q)
        keys_QPD, values_QPD = kv.flatten(1, 2).unbind(0)
        rows, groups, used = self.num_rows, self.kv_heads, self.num_used
        heads, head_dim = q_SHD.shape[1:]
        q_QRD = q_SHD.reshape(rows, -1).index_select(0, self.owner_Q).view(used * groups, -1, head_dim)
        scores = torch.baddbmm(self.mask_Q1P, q_QRD, keys_QPD.transpose(1, 2), alpha=self.scale)
        weights = self._softmax(scores.reshape(used, heads, page)).reshape(used * groups, -1, page)
        out_QD = torch.bmm(weights, values_QPD).view(used, heads * head_dim)
        if used == rows:
            # One page each: order is all there is to do.
            return out_QD.new_empty(rows, heads * head_dim).index_copy_(0, self.owner_Q, out_QD).view(q_SHD.shape)
        # Summed in fp32: a sum over many pages would lose digits in half precision.
        out_SD = torch.zeros(rows, heads * head_dim, device=out_QD.device).index_add_(0, self.owner_Q, out_QD.float())
        return out_SD.to(q_SHD.dtype).view(q_SHD.shape)

    def _softmax(self, scores_QHP: Tensor) -> Tensor:
        heads, page = scores_QHP.shape[1:]
        if self.is_ordered:
            by_row = scores_QHP
        else:
            by_row = scores_QHP.new_full((self.num_rows * self.most, heads, page), -math.inf)
            by_row.index_copy_(0, self.slots_Q, scores_QHP)
        by_row = by_row.view(self.num_rows, self.most, heads, page).transpose(1, 2).flatten(2)
        weights = by_row.softmax(-1).view(self.num_rows, heads, self.most, page).transpose(1, 2)
        weights = weights.reshape(self.num_rows * self.most, heads, page)
        return weights if self.is_ordered else weights.index_select(0, self.slots_Q)
