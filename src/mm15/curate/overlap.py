"""Finding what two sets share without comparing everything with everything: an index of hashes, looked up row by row.

Pictures: near duplicates have 64-bit hashes at most t bits apart. The hash is cut into four words of 16 bits; of two
such hashes at least one word is at most t // 4 bits apart, so a lookup tries the words of that neighbourhood and checks
what it finds in full (multi-index hashing, Norouzi, Punjani and Fleet 2012, arXiv 1307.2982).

Texts: the share of a question's n-grams of words that a row contains. GPT-3 took documents out for one common 13-gram
(arXiv 2005.14165, appendix C); questions of benchmarks share their instructions, so n-grams that stand in more than
``COMMON`` different questions do not count, and the share that must be found is an option.

Legend: N hashes, U different questions, G n-grams, R rows of the other set.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mm15.images.hashes import PictureHash
from mm15.text.ngrams import ngram_hashes, whole_hash

WORDS, BITS = 4, 16
MOST_BITS = 3 * WORDS - 1
"""The largest distance that is looked for: two bits in a word."""
FINE = 5
"""Bits of the 256-bit hash that may differ for each bit of the 64-bit one."""
COMMON = 10
_KINDS = ("both", "picture", "question")
_ONES = np.array([value.bit_count() for value in range(256)])
SHORTEST = 4
"""Words from which a question without a picture is compared as a whole."""


class Row(NamedTuple):
    """What of a row is compared."""

    pictures: list[PictureHash]
    questions: list[list[str]]
    """The words of every question: user turns, or the text of documents."""
    words: list[str]
    """The words of everything that is said."""
    pictured: bool
    """Whether it has pictures, also where none could be hashed."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row of the other set that shares something with this one."""

    row: int
    distance: int = -1
    """Bits between the 64-bit hashes of the two most similar pictures; -1: no picture is shared."""
    containment: float = 0.0
    """Share of a question's n-grams that this row contains; 0: no question is shared."""

    @property
    def kind(self) -> str:
        """``picture``, ``question`` or ``both``."""
        return "both" if self.distance >= 0 and self.containment else "picture" if self.distance >= 0 else "question"


class PictureIndex:
    """Hashes to be found again.

    Args:
        hashes: of the other set.
        rows: the row that each belongs to.
        most: bits of the 64-bit hash that may differ.
    """

    def __init__(self, hashes: Sequence[PictureHash], rows: Sequence[int], most: int) -> None:
        if not 0 <= most <= MOST_BITS:
            raise ValueError(f"pictures are looked for within 0 to {MOST_BITS} bits, not {most}")
        self.most = most
        self._coarse_N = np.array([one.coarse for one in hashes], np.uint64)
        self._fine_N4 = np.array([one.fine for one in hashes], np.uint64).reshape(-1, 4)
        self._row_N = np.array(rows, np.int64)
        radius = most // WORDS
        flips = [0]
        for count in range(1, radius + 1):
            flips += [sum(1 << bit for bit in bits) for bits in itertools.combinations(range(BITS), count)]
        self._flips = np.array(flips, np.int64)
        self._tables = []
        for word_N in _words_of(self._coarse_N):
            order_N = np.argsort(word_N, kind="stable")
            starts = np.searchsorted(word_N[order_N], np.arange((1 << BITS) + 1))
            self._tables.append((order_N, starts))

    def find(self, one: PictureHash) -> list[tuple[int, int]]:
        """(row, distance) of every near duplicate."""
        found = []
        for word, (order_N, starts) in zip(_words_of(np.array([one.coarse], np.uint64)), self._tables, strict=True):
            tried = int(word[0]) ^ self._flips
            filled = tried[starts[tried + 1] > starts[tried]]
            found += [order_N[starts[value] : starts[value + 1]] for value in filled.tolist()]
        if not found:
            return []
        candidates = np.unique(np.concatenate(found))
        distance = _ones(self._coarse_N[candidates, None] ^ np.uint64(one.coarse))
        near = distance <= self.most
        candidates, distance = candidates[near], distance[near]
        apart = _ones(self._fine_N4[candidates] ^ np.array(one.fine, np.uint64))
        alike = apart <= max(self.most, 1) * FINE
        return list(zip(self._row_N[candidates[alike]].tolist(), distance[alike].tolist(), strict=True))


def _ones(numbers_NK: np.ndarray) -> np.ndarray:
    """Bits that are set in every row of uint64 numbers."""
    return _ONES[numbers_NK.view(np.uint8)].sum(1)


def _words_of(coarse_N: np.ndarray) -> list[np.ndarray]:
    low = np.uint64((1 << BITS) - 1)
    return [((coarse_N >> np.uint64(BITS * word)) & low).astype(np.int64) for word in range(WORDS)]


class QuestionIndex:
    """Questions to be found again in texts.

    A question of fewer than ``n`` words, or of nothing but common n-grams, is only found as a whole; see
    ``find_whole``.

    Args:
        questions: (row, words) of the other set.
        n: words of an n-gram.
    """

    def __init__(self, questions: Sequence[tuple[int, list[str]]], n: int) -> None:
        self.n = n
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, words in questions:
            rows_of.setdefault(tuple(words), []).append(row)
        self._rows_of: list[list[int]] = []
        self._whole: dict[int, list[int]] = {}
        grams: list[np.ndarray] = []
        different = [(words, rows, np.unique(ngram_hashes(words, n))) for words, rows in rows_of.items()]
        often = _common([found for _, _, found in different])
        for words, rows, found in different:
            kept = found[~np.isin(found, often)]
            if len(kept):
                self._rows_of.append(rows)
                grams.append(kept)
            else:
                self._whole.setdefault(whole_hash(words), []).extend(rows)
        self.compared = sum(map(len, self._rows_of))
        """Questions that are found by their n-grams."""
        self.short = sum(map(len, self._whole.values()))
        """Questions that are only found as a whole."""
        self._size_U = np.array([len(one) for one in grams], np.int64)
        gram_G = np.concatenate(grams) if grams else np.zeros(0, np.uint64)
        order_G = np.argsort(gram_G, kind="stable")
        self._gram_G = gram_G[order_G]
        self._question_G = np.repeat(np.arange(len(grams)), self._size_U)[order_G]

    def find(self, words: Sequence[str], least: float) -> list[tuple[int, float]]:
        """(row, share of its n-grams that stand in these words) of every question with at least this share."""
        wanted = np.unique(ngram_hashes(words, self.n))
        low = np.searchsorted(self._gram_G, wanted, "left")
        high = np.searchsorted(self._gram_G, wanted, "right")
        here = high > low
        if not here.any():
            return []
        found = np.concatenate([self._question_G[a:b] for a, b in zip(low[here], high[here], strict=True)])
        questions, counts = np.unique(found, return_counts=True)
        shares = counts / self._size_U[questions]
        good = shares >= least
        return [
            (row, float(share))
            for question, share in zip(questions[good], shares[good], strict=True)
            for row in self._rows_of[question]
        ]

    def find_whole(self, words: Sequence[str]) -> list[int]:
        """Rows of the short questions with exactly these words."""
        return self._whole.get(whole_hash(words), [])


def _common(grams: Sequence[np.ndarray]) -> np.ndarray:
    """N-grams that stand in more than ``COMMON`` different questions."""
    if not grams:
        return np.zeros(0, np.uint64)
    values, counts = np.unique(np.concatenate(grams), return_counts=True)
    return values[counts > COMMON]


class Overlap:
    """Both indices over the rows of the other set.

    Args:
        rows: of the other set; their place in this sequence is their number.
        most_bits: see ``PictureIndex``.
        n: see ``QuestionIndex``.
        least: share of a question's n-grams that makes it found.
    """

    def __init__(self, rows: Sequence[Row], most_bits: int, n: int, least: float) -> None:
        hashes = [(number, one) for number, row in enumerate(rows) for one in row.pictures]
        self.pictures = PictureIndex([one for _, one in hashes], [number for number, _ in hashes], most_bits)
        asked = [(number, words) for number, row in enumerate(rows) for words in row.questions if words]
        self.questions = QuestionIndex(asked, n)
        self._least = least
        self._has_picture_R = np.array([row.pictured for row in rows], bool)

    def hits(self, row: Row) -> list[Hit]:
        """Rows of the other set that share a picture, a question or both with this row, the most alike first.

        A question that is only found as a whole ("What color is the car?") counts with its picture; where the other
        row has none, it counts if it has at least ``SHORTEST`` words.
        """
        distance: dict[int, int] = {}
        for one in row.pictures:
            for number, bits in self.pictures.find(one):
                distance[number] = min(bits, distance.get(number, bits))
        containment: dict[int, float] = {}
        for number, share in self.questions.find(row.words, self._least):
            containment[number] = max(share, containment.get(number, 0.0))
        for words in row.questions:
            for number in self.questions.find_whole(words):
                if number in distance or (not self._has_picture_R[number] and len(words) >= SHORTEST):
                    containment[number] = 1.0
        found = [Hit(n, distance.get(n, -1), containment.get(n, 0.0)) for n in {*distance, *containment}]
        return sorted(found, key=lambda hit: (_KINDS.index(hit.kind), hit.distance, -hit.containment, hit.row))
