"""Concept balance: rare concepts whole, frequent ones about at the limit, the same choice in any order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError
from mm15.curate.balance import STOP, balance, concepts_of, own_concepts, read_concepts

SKEWED = [(f"dog{k}", f"a dog number {k}") for k in range(400)] + [(f"key{k}", f"a key number {k}") for k in range(20)]


def given(rows):
    return lambda: iter(rows)


def test_concepts_are_words_and_phrases_each_once():
    known = frozenset(["dog", "hot dog", "fire engine truck", "o'clock", "été"])
    assert concepts_of("A Hot dog, a dog; a dogma.", known) == ["dog", "hot dog"]
    assert concepts_of("The fire-engine truck", known) == [], "a hyphen makes one word"
    assert concepts_of("a fire engine truck at five o'clock in Été", known) == ["fire engine truck", "o'clock", "été"]


def test_own_concepts_are_what_several_captions_use():
    rows = [("1", "a red dog on the grass"), ("2", "the red dog barks"), ("3", "grass"), ("4", "a cat, a cat")]
    assert own_concepts(given(rows)) == ["dog", "grass", "red", "red dog"]
    assert "picture" in STOP and own_concepts(given([("1", "picture of"), ("2", "picture of")])) == []


def test_a_frequent_concept_comes_down_to_the_limit_and_a_rare_one_stays_whole():
    made = balance(given(SKEWED), per_concept=40, concepts=["dog", "key"])
    kept = Counter(SKEWED[number][0][:3] for number in made.kept)
    assert kept["key"] == 20 and 25 <= kept["dog"] <= 55
    assert made.frequent == [("dog", 400, kept["dog"]), ("key", 20, 20)]
    assert (made.total, made.concepts, made.per_concept) == (420, 2, 40)
    assert "420" in made.text() and "400 ->" in made.text()


def test_one_rare_concept_keeps_a_caption_and_none_at_all_drops_it():
    rows = [*SKEWED, ("both", "a dog with a key"), ("none", "nothing here")]
    for seed in range(5):
        kept = {rows[number][0] for number in balance(given(rows), 40, concepts=["dog", "key"], seed=seed).kept}
        assert "both" in kept and "none" not in kept


def test_the_choice_depends_on_seed_and_key_not_on_the_order():
    once = {SKEWED[number][0] for number in balance(given(SKEWED), 40, seed=1).kept}
    turned = SKEWED[::-1]
    assert {turned[number][0] for number in balance(given(turned), 40, seed=1).kept} == once
    assert {SKEWED[number][0] for number in balance(given(SKEWED), 40, seed=2).kept} != once
    more = {SKEWED[number][0] for number in balance(given(SKEWED), 80, seed=1).kept}
    assert once < more, "a larger limit keeps all that a smaller one keeps"


def test_a_number_to_keep_finds_its_limit():
    for keep in (1, 30, 200, 419):
        made = balance(given(SKEWED), keep=keep, concepts=["dog", "key"])
        assert len(made.kept) == keep
    made = balance(given(SKEWED), keep=60, concepts=["dog", "key"])
    counts = Counter(SKEWED[number][0][:3] for number in made.kept)
    assert counts["key"] == 20 and counts["dog"] == 40
    assert len(balance(given(SKEWED), keep=5000).kept) == 420 == len(balance(given(SKEWED)).kept)


def test_nothing_in_and_nothing_known_is_nothing_out():
    assert balance(given([]), 5).kept == []
    assert balance(given(SKEWED), 5, concepts=["cat"]).kept == []
    for wrong in ({"per_concept": -1}, {"keep": -1}, {"per_concept": 2, "keep": 3}):
        with pytest.raises(ConfigError):
            balance(given(SKEWED), **wrong)


def test_a_list_of_concepts(tmp_path: Path):
    file = tmp_path / "concepts.txt"
    file.write_text("# animals\nDog\n\n hot  dog \nDog\n", encoding="utf-8")
    assert read_concepts(file) == ["dog", "hot dog"]
    with pytest.raises(ConfigError, match="no such file"):
        read_concepts(tmp_path / "none.txt")
    file.write_text("one two three four\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="more than 3 words: one two three four"):
        read_concepts(file)
    file.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no words"):
        read_concepts(file)
