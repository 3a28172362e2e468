"""The whole model: tiles and tokens of a packed batch in, logits where there is a label out.

Legend: T positions of the stream, L positions with a label, S samples, N tiles, M tokens per tile, C channels,
H W pixels, D width, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mm15.base.batch import IGNORE, PackedBatch
from mm15.model.cache import PAGE, KVCache
from mm15.model.cached import Step
from mm15.model.connector import build_connector
from mm15.model.decoder import Decoder, Stream
from mm15.model.layers import init_weights
from mm15.model.moe import Routing
from mm15.model.sizes import ModelConfig
from mm15.model.vit import VisionTransformer


class ModelOutput(NamedTuple):
    """Logits of the positions that have a label, what each should have said, and where they lie in the stream."""

    logits_LV: Tensor
    targets_L: Tensor
    positions_L: Tensor
    routing: tuple[Routing, ...] = ()
    """Of the layers with experts: what they add to the loss, and how they dealt out the rows."""


class MultimodalModel(nn.Module):
    """Vision encoder → connector → decoder.

    ``compute_dtype`` is the dtype of activations; parameters keep their own (fp32 in training). Parameters are
    uninitialised after construction, so that a model can be built on the meta device: call ``init_weights`` or load.
    """

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        vision, decoder = config.vision, config.decoder
        self.vision = VisionTransformer(vision)
        self.connector = build_connector(config.connector, vision.width, vision.grid, decoder.width)
        self.decoder = Decoder(decoder)

    def init_weights(self, seed: int) -> None:
        """Fill every parameter from the seed and its name."""
        init_weights(self, seed)

    def forward(self, batch: PackedBatch) -> ModelOutput:
        """Logits where there is a label.

        Raises:
            ValueError: image positions and tiles of a sample do not match, or the batch is for another model.
        """
        positions_L = (batch.labels_T != IGNORE).nonzero().flatten()
        x_TD = self.embed(batch)
        stream = Stream(self.decoder.config, batch.positions_T, batch.borders, self.compute_dtype)
        hidden_LD = self.decoder(x_TD, stream, keep_R=positions_L)
        logits_LV, routing = self.decoder.head(hidden_LD), tuple(stream.routing or ())
        return ModelOutput(logits_LV, batch.labels_T[positions_L], positions_L, routing)

    def hidden(self, batch: PackedBatch) -> Tensor:
        """Hidden states of every position behind the final norm, [T, D]."""
        stream = Stream(self.decoder.config, batch.positions_T, batch.borders, self.compute_dtype)
        return self.decoder(self.embed(batch), stream)

    def encode_tiles(self, tiles_NCHW: Tensor) -> Tensor:
        """Decoder inputs of every tile, [N, M, D]. Tiles are uint8, or floats that are normalised already."""
        return self.connector(self.vision(tiles_NCHW, self.compute_dtype))

    def embed(self, batch: PackedBatch, features_NMD: Tensor | None = None) -> Tensor:
        """Word embeddings with the tile features at the image positions, [T, D].

        ``features_NMD`` are those of the batch's tiles, where ``encode_tiles`` made them before. Without them a batch
        that has no tiles still runs the encoder and connector over zero rows: every rank makes the same collective
        calls, and the gradients are zero instead of missing.

        Raises:
            ValueError: image positions and tiles of a sample do not match, or the batch is for another model.
        """
        self._check_batch(batch)
        is_image_T = batch.tokens_T == batch.image_token
        self._check_seam(batch, is_image_T)
        x_TD = self.decoder.embed(batch.tokens_T, self.compute_dtype)
        if features_NMD is None:
            features_NMD = self.encode_tiles(batch.tiles_NCHW)
        tiles_RD = features_NMD.flatten(0, 1)
        return x_TD.index_copy(0, is_image_T.nonzero().flatten(), tiles_RD)

    def _check_batch(self, batch: PackedBatch) -> None:
        ours = (self.config.image_token, self.config.connector.tokens)
        theirs = (batch.image_token, batch.tokens_per_tile)
        if ours != theirs:
            raise ValueError(
                f"the model's image token and tokens per tile are {ours}, the batch's {theirs}: "
                "it was encoded by the processor of another bundle"
            )

    def _check_seam(self, batch: PackedBatch, is_image_T: Tensor) -> None:
        # Per sample: equal totals would let one sample's surplus fill another's gap and spoil both silently.
        before_T = torch.cat([is_image_T.new_zeros(1, dtype=torch.long), is_image_T.cumsum(0)])
        found = before_T[list(batch.borders)].diff().tolist()
        wanted = [count * batch.tokens_per_tile for count in batch.tile_counts]
        if found == wanted and sum(batch.tile_counts) == len(batch.tiles_NCHW):
            return
        problems = [
            f"{batch.keys[index] if batch.keys else f'sample {index}'}: {has} image positions for "
            f"{has_tiles} tiles of {batch.tokens_per_tile} tokens (expected {needs})"
            for index, (has, needs, has_tiles) in enumerate(zip(found, wanted, batch.tile_counts, strict=True))
            if has != needs
        ]
        if sum(batch.tile_counts) != len(batch.tiles_NCHW):
            problems.append(f"{len(batch.tiles_NCHW)} tiles for counts that sum to {sum(batch.tile_counts)}")
        raise ValueError("; ".join(problems))

    def new_cache(self, num_sequences: int, capacity: int, page: int = PAGE) -> KVCache:
        """A cache for this model with room for ``num_sequences`` of ``capacity`` positions each, all of them open.

        ``capacity`` counts prompt and answer of the longest sequence.
        """
        cache = self.new_pool(num_sequences * -(-capacity // page), page)
        for _ in range(num_sequences):
            cache.open(capacity)
        return cache

    def new_pool(self, num_pages: int, page: int = PAGE) -> KVCache:
        """A cache for this model of so many pages, and no sequence yet."""
        config, device = self.decoder.config, self.decoder.embedding.weight.device
        return KVCache(num_pages, config.layers, config.kv_heads, config.head_dim, self.compute_dtype, device, page)

    @torch.no_grad()
    def advance(self, x_TD: Tensor, more: Sequence[int], cache: KVCache, rows: Sequence[int]) -> Tensor:
        """Append ``more[s]`` positions to every sequence s of the cache, and tell what follows some of them.

        Args:
            x_TD: decoder inputs of the new positions, sequence after sequence.
            more: 0 leaves a sequence as it is.
            rows: sequences whose next token is wanted; each must get a new position.

        Returns:
            Logits [len(rows), V], of the token behind the last position of each.

        Raises:
            ValueError: another number of sequences than the cache has, or one without room.
        """
        step = Step(self.decoder.config, cache, more, self.compute_dtype, x_TD.device)
        ends = list(itertools.accumulate(more))
        keep_R = torch.tensor([ends[row] - 1 for row in rows], dtype=torch.long, device=x_TD.device)
        if len(rows) == len(x_TD):
            return self.decoder.head(self.decoder(x_TD, step)[keep_R])
        return self.decoder.head(self.decoder(x_TD, step, keep_R=keep_R))

    def prefill(self, batch: PackedBatch, cache: KVCache) -> Tensor:
        """Read the prompts of all samples into an empty cache; logits [S, V] of the token after each.

        Raises:
            ValueError: as ``embed``; the cache is not empty, has other sequences, or is too small.
        """
        if any(cache.lengths):
            raise ValueError(f"prefill needs an empty cache, found lengths {cache.lengths}")
        more = [end - start for start, end in itertools.pairwise(batch.borders)]
        with torch.no_grad():
            return self.advance(self.embed(batch), more, cache, range(len(more)))

    def decode(self, tokens_S: Tensor, cache: KVCache) -> Tensor:
        """Append one token to every sequence of the cache; logits [S, V] of the token after it.

        Raises:
            ValueError: another number of tokens than sequences, or no room left.
        """
        with torch.no_grad():
            x_SD = self.decoder.embed(tokens_S, self.compute_dtype)
            return self.advance(x_SD, [1] * len(tokens_S), cache, range(len(tokens_S)))
