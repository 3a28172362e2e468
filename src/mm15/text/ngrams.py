"""Words of a text and hashes of their n-grams, the same on every machine and in every process."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# Scripts written without spaces (kana, Han, Thai): every character is a word.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """The words of a text in order: letters and digits, case folded, compatibility forms made one, the rest dropped."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngram_hashes(words: Sequence[str], n: int) -> np.ndarray:
    """A uint64 for every run of ``n`` words, in order; none where there are fewer. Equal runs have equal hashes."""
    count = len(words) - n + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    hashes_W = np.array([_word_hash(word) for word in words], np.uint64)
    total_N = np.zeros(count, np.uint64)
    for place in range(n):  # a polynomial in the place, modulo 2^64
        total_N = total_N * _FACTOR + hashes_W[place : place + count]
    return total_N


def whole_hash(words: Sequence[str]) -> int:
    """One unsigned 64-bit hash of all words in order."""
    return _digest(" ".join(words))


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return _digest(word)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
