"""Words and n-grams: what counts as the same, and hashes that do not depend on the process."""

from __future__ import annotations

import numpy as np

from mm15.text.ngrams import ngram_hashes, whole_hash, words_of


def test_words_drop_case_punctuation_and_compatibility_forms():
    words = ["what", "s", "the", "name", "of", "this", "thing", "3", "5"]
    assert words_of("What's the  NAME—of\tthis_thing?\n(3.5)") == words
    assert words_of("ＡＢＣ ﬁt Straße") == ["abc", "fit", "strasse"]
    assert words_of(" … ") == []


def test_scripts_without_spaces_are_cut_into_characters():
    assert words_of("这是什么? ok") == ["这", "是", "什", "么", "ok"]
    assert words_of("한국어 질문") == ["한국어", "질문"]


def test_equal_runs_have_equal_hashes():
    first, second = ngram_hashes(list("abcdef"), 4), ngram_hashes(list("xybcdez"), 4)
    assert len(first) == 3 and len(second) == 4
    assert first[1] == second[2] and len(np.intersect1d(first, second)) == 1
    assert len(ngram_hashes(list("abcdef"), 7)) == 0 and len(ngram_hashes([], 1)) == 0
    assert ngram_hashes(["a", "b"], 2) != ngram_hashes(["b", "a"], 2)


def test_hashes_are_the_same_in_every_process():
    assert ngram_hashes(["one", "two"], 2).tolist() == [17898366591077449017]
    assert whole_hash(["one", "two"]) == 6767795236808542983 != whole_hash(["onetwo"])
