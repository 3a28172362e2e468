"""Short pre-training of the image encoder on dense labels, in place of CLIP.

MM1.5 starts from a CLIP-pretrained encoder; a miniature built from nothing has none, so its encoder
first learns, for every patch, what lies under it: a character or a named thing, its colour, and the edges of its box.
This is ours, not the paper's. It runs through the same loader, step and loop as every other stage: a "processor" that
turns a sample into tiles and patch labels, and a model that answers nine questions per patch.

The last two, ``word`` and ``hue``, are answered with the decoder's own word embeddings: a token that shows a dog
becomes like the word "dog", as CLIP makes pictures like their captions: later stages find what a question names.

Legend: N tiles, P patches per tile, Q questions, V labels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mm15.base.batch import IGNORE, EncodedSample, PackedBatch
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import Sample
from mm15.images.split import SplitPolicy, TileSlot, choose_grid, split_image, tile_layout
from mm15.images.tensors import open_pixels
from mm15.io.media import read_bytes
from mm15.model.layers import roll_half
from mm15.model.multimodal import ModelOutput, MultimodalModel
from mm15.processor import Cost, ProcessorConfig
from mm15.text.tokenizer import Tokenizer

QUESTIONS = ("class", "colour", "left", "top", "right", "bottom", "second", "word", "hue")
"""Of a patch. ``class`` is the thing at its centre or the character in its left half, ``second`` that in its right;
``word`` is the class and ``hue`` the colour once more, asked of the token that the patch is pooled into."""
ALIGNED = len(QUESTIONS) - 2
"""Questions from here on are answered by the nearest word embedding."""
EDGE_BINS = 16
"""A box edge is answered as one of this many equal parts of the tile."""
LEGIBLE = 5
"""Pixels of a tile that a character must be high to be labelled: nobody reads smaller ones."""


@dataclass(frozen=True)
class LabelSet:
    """The answers that exist: 0 is background / no colour, then classes, then colours, then edge bins."""

    classes: tuple[str, ...]
    colours: tuple[str, ...]

    @classmethod
    def of(cls, metas: Iterable[Mapping[str, Any]]) -> LabelSet:
        """Collect the names, characters and colours that the rows carry."""
        classes: set[str] = set()
        colours: set[str] = set()
        for meta in metas:
            classes.update(entry["name"] for entry in meta.get("objects", ()))
            colours.update(entry["color"] for entry in meta.get("objects", ()) if entry.get("color"))
            classes.update(entry[0] for entry in meta.get("chars", ()))
        return cls(tuple(sorted(classes)), tuple(sorted(colours)))

    @property
    def size(self) -> int:
        return 1 + len(self.classes) + len(self.colours) + EDGE_BINS

    @property
    def first_bin(self) -> int:
        return 1 + len(self.classes) + len(self.colours)


class DenseProcessor:
    """Sample → all tiles of its picture and nine labels per patch. Same face as ``processor.Processor``.

    Rows without ``objects`` and ``chars`` raise ``SkipSample``: they have nothing to teach here.
    """

    image_token = -1

    def __init__(self, labels: LabelSet, policies: Sequence[SplitPolicy], patch: int, root: str = "") -> None:
        self.labels = labels
        self.policies = tuple(policies)
        self.patch = patch
        self.root = root
        self.tokens_per_tile = (policies[0].tile // patch) ** 2 * len(QUESTIONS)
        self.config = ProcessorConfig(split=policies[0], tokens_per_tile=self.tokens_per_tile)
        self.stop_tokens = {0}
        self._class_of = {name: 1 + index for index, name in enumerate(labels.classes)}
        self._colour_of = {name: 1 + len(labels.classes) + index for index, name in enumerate(labels.colours)}

    @property
    def fingerprint(self) -> str:
        """Changes when labels, policies or patch size change."""
        text = repr((self.labels, [policy.model_dump(mode="json") for policy in self.policies], self.patch))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def count(self, sample: Sample) -> Cost:
        """Tokens (patch questions) and tiles, from sizes alone."""
        part = self._only_image(sample)
        if not part.width:
            raise SkipSample("the row states no width and height", sample.key)
        tiles = len(tile_layout(part.height, part.width, self._policy(sample)))
        return Cost(tokens=tiles * self.tokens_per_tile, tiles=tiles)

    def encode(self, sample: Sample, answering: bool = False) -> EncodedSample:
        """Cut the picture as later stages will, and label every patch of every tile."""
        part = self._only_image(sample)
        pixels_CHW = open_pixels(read_bytes(part.media, self.root), sample.key)
        height, width = pixels_CHW.shape[1:]
        policy = self._policy(sample)
        cut = split_image(pixels_CHW, policy)
        labels_NPQ = np.stack([self._labels(sample.meta, slot, height, width, policy) for slot in cut.slots])
        labels_T = torch.from_numpy(labels_NPQ.reshape(-1)).long()
        return EncodedSample(
            tokens_T=torch.full_like(labels_T, self.image_token),
            labels_T=labels_T,
            tiles_NCHW=cut.tiles_NCHW,
            key=sample.key,
            source=sample.source,
            category=str(sample.category),
        )

    def _only_image(self, sample: Sample) -> Any:
        if len(sample.images) != 1 or not (sample.meta.get("objects") or sample.meta.get("chars")):
            raise SkipSample("dense labels need one picture with 'objects' or 'chars'", sample.key)
        return sample.images[0]

    def _policy(self, sample: Sample) -> SplitPolicy:
        # Each picture keeps one way of being cut, so that costs and data order stay pure functions of the sample.
        digest = hashlib.blake2b(sample.key.encode(), digest_size=2).digest()
        return self.policies[int.from_bytes(digest, "little") % len(self.policies)]

    def _labels(
        self, meta: Mapping[str, Any], slot: TileSlot, height: int, width: int, policy: SplitPolicy
    ) -> np.ndarray:
        """[P, Q] labels of one tile."""
        tile, side = policy.tile, policy.tile // self.patch
        if slot.row == 0:
            scale, dx, dy = tile / max(height, width), 0.0, 0.0
        else:
            scale = choose_grid(height, width, policy).scale
            dx, dy = (slot.col - 1) * tile, (slot.row - 1) * tile
        labels = np.full((side, side, len(QUESTIONS)), IGNORE, dtype=np.int64)
        # Characters are few and hard. One background patch in eight says so, and every other patch of a box tells its
        # edges, or they would drown the characters.
        row, col = np.indices((side, side))
        labels[..., 0] = np.where((row + 3 * col) % 8 == 0, 0, IGNORE)
        for entry in meta.get("objects", ()):
            place, box = self._place(labels, entry["box"], scale, dx, dy, tile)
            place[..., 0] = self._class_of.get(entry["name"], 0)
            place[..., 1] = self._colour_of.get(entry.get("color"), 0)
            place[::2, :, 2:6] = self.labels.first_bin + np.minimum(box * EDGE_BINS / tile, EDGE_BINS - 1).astype(int)
        chars = meta.get("chars", ())
        if chars:
            boxes_C4 = np.array([corners for _, *corners in chars], dtype=np.float64) * scale - [dx, dy, dx, dy]
            self._spell(labels, np.array([self._class_of.get(entry[0], 0) for entry in chars]), boxes_C4)
        # Neighbouring patches share a token: one of four asks for its word.
        for aligned, told in ((ALIGNED, 0), (ALIGNED + 1, 1)):
            things = labels[::2, ::2, told]
            labels[::2, ::2, aligned] = np.where(things > 0, things, IGNORE)
        return labels.reshape(-1, len(QUESTIONS))

    def _spell(self, labels: np.ndarray, classes_C: np.ndarray, boxes_C4: np.ndarray) -> None:
        """Label the two halves of every patch that a line of characters crosses with the character in their middle.

        A half whose middle lies between two characters takes the nearer one, if it is near; patches that show too
        small characters are asked nothing.
        """
        side, patch = len(labels), self.patch
        x1, y1, x2, y2 = boxes_C4.T
        middle_X = (np.arange(2 * side) + 0.5) * patch / 2
        rows_R = np.arange(side)
        first, last = np.round(y1 / patch), np.round(y2 / patch)
        tile = side * patch
        shown_C = (np.minimum(x2, tile) - np.maximum(x1, 0) >= 1) & (np.minimum(y2, tile) - np.maximum(y1, 0) >= 1)
        in_row_RC = shown_C & (rows_R[:, None] >= first) & (rows_R[:, None] < np.maximum(last, first + 1))
        away_XC = np.maximum(np.maximum(x1 - middle_X[:, None], middle_X[:, None] - x2), 0)
        away_RXC = np.where(in_row_RC[:, None], away_XC[None], np.inf)
        nearest_RX = away_RXC.argmin(axis=2)
        found_RX = away_RXC.min(axis=2) <= patch / 4
        legible_C = y2 - y1 >= LEGIBLE
        answers_RX = np.where(legible_C[nearest_RX], classes_C[nearest_RX], IGNORE)
        for half, question in enumerate((QUESTIONS.index("class"), QUESTIONS.index("second"))):
            found, answers = found_RX[:, half::2], answers_RX[:, half::2]
            labels[..., question][found] = answers[found]

    def _place(
        self, labels: np.ndarray, corners: Sequence[float], scale: float, dx: float, dy: float, tile: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The patches whose centre lies in a box, at least one where the box is thinner; and the box in the tile."""
        side = len(labels)
        x1, y1, x2, y2 = corners
        box = np.clip([x1 * scale - dx, y1 * scale - dy, x2 * scale - dx, y2 * scale - dy], 0, tile)
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            return labels[:0], box
        c1, r1, c2, r2 = np.round(box / self.patch).astype(int)
        c1, r1 = min(c1, side - 1), min(r1, side - 1)
        return labels[r1 : max(r2, r1 + 1), c1 : max(c2, c1 + 1)], box


class EncoderModel(nn.Module):
    """Vision tower and connector with a linear answer per patch and question.

    Each of the connector's tokens answers for the patches it was pooled from, so that a decoder finds what the encoder
    knows in its input. Forward has the face of ``MultimodalModel``.

    Args:
        model: whose tower, connector and word embeddings are trained; the rest of its decoder is left alone.
        labels: what can be answered.
        words: token ids of every label that is a word, as ``word_ids`` gives them.

    Raises:
        ConfigError: the patches of a tile are not a whole number per token.
    """

    mean_VW: Tensor
    no_word_V: Tensor

    def __init__(self, model: MultimodalModel, labels: LabelSet, words: Mapping[int, list[int]], seed: int = 0) -> None:
        super().__init__()
        self.config = model.config
        self.vision, self.connector, self.embedding = model.vision, model.connector, model.decoder.embedding
        self.num_labels = num_labels = labels.size
        # Mean of the embeddings of a label's spellings, as one product; labels that are no word can never win.
        mean_VW = torch.zeros(num_labels, len(self.embedding.weight))
        for label, ids in words.items():
            mean_VW[label, ids] = 1 / len(ids)
        self.register_buffer("mean_VW", mean_VW, persistent=False)
        self.register_buffer("no_word_V", (mean_VW.sum(1) == 0) * -1e4, persistent=False)
        tokens, grid, width = model.config.connector.tokens, model.config.vision.grid, model.config.decoder.width
        self.pooled = math.isqrt(tokens)
        if self.pooled**2 != tokens or grid % self.pooled:
            raise ConfigError([f"dense labels need {grid} x {grid} patches in equal squares, not {tokens} tokens"])
        self.patches = grid // self.pooled
        self.head = nn.Linear(width, self.patches**2 * ALIGNED * num_labels)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.compute_dtype = torch.float32

    def forward(self, batch: PackedBatch) -> ModelOutput:
        """PackedBatch of ``DenseProcessor`` samples → logits at labelled patch questions."""
        tokens_NMD = self.connector(self.vision(batch.tiles_NCHW, self.compute_dtype))
        logits = nn.functional.linear(tokens_NMD, self.head.weight.to(tokens_NMD.dtype)) + self.head.bias
        # (tile, token row, token column, patch row, patch column, question and label) to patches row by row.
        tokens, patches = (self.pooled, self.pooled), (self.patches, self.patches)
        logits = logits.unflatten(1, tokens).unflatten(3, (*patches, ALIGNED, -1))
        nearest = self._nearest_words(tokens_NMD).unflatten(1, (*tokens, 1, 1, 1))
        nearest = nearest.expand(-1, -1, -1, *patches, len(QUESTIONS) - ALIGNED, -1)
        logits_TV = torch.cat([logits, nearest], dim=5).transpose(2, 3).reshape(-1, self.num_labels)
        positions_L = (batch.labels_T != IGNORE).nonzero().flatten()
        return ModelOutput(
            logits_LV=logits_TV[positions_L], targets_L=batch.labels_T[positions_L], positions_L=positions_L
        )

    def _nearest_words(self, tokens_NMD: Tensor) -> Tensor:
        """How like every label's word embedding, rolled, a token is, [N, M, V]; ``QueryKeyValue`` says why rolled."""
        normed = nn.functional.rms_norm(tokens_NMD, tokens_NMD.shape[-1:])
        words_VD = roll_half(self.mean_VW @ self.embedding.weight).to(normed.dtype)
        return normed @ words_VD.T + self.no_word_V


def word_ids(labels: LabelSet, tokenizer: Tokenizer) -> dict[int, list[int]]:
    """Label → the tokens that spell it alone, with and without a space before it; no label that needs several.

    A character is its own word; a name that the tokenizer spells has none.
    """
    found = {}
    for label, word in enumerate((*labels.classes, *labels.colours), 1):
        spelt = [tokenizer.encode(text) for text in dict.fromkeys((word, f" {word}" if len(word) > 1 else word))]
        if ids := [ids[0] for ids in spelt if len(ids) == 1]:
            found[label] = ids
    return found
