"""The indices find what a comparison of everything with everything finds."""

from __future__ import annotations

import numpy as np
import pytest

from mm15.curate.overlap import COMMON, Overlap, PictureIndex, QuestionIndex, Row
from mm15.images.hashes import PictureHash
from mm15.text.ngrams import words_of


def flipped(one: PictureHash, coarse: list[int], fine: list[int] | None = None) -> PictureHash:
    """The hash with these bits turned over."""
    parts = list(one.fine)
    for bit in fine or []:
        parts[bit // 64] ^= 1 << (bit % 64)
    return PictureHash(one.coarse ^ sum(1 << bit for bit in coarse), (parts[0], parts[1], parts[2], parts[3]))


def some_hashes(count: int, seed: int = 0) -> list[PictureHash]:
    numbers = np.random.default_rng(seed).integers(0, 1 << 64, (count, 5), dtype=np.uint64).tolist()
    return [PictureHash(a, (b, c, d, e)) for a, b, c, d, e in numbers]


@pytest.mark.parametrize("most", [0, 3, 6, 8, 11])
def test_pictures_are_found_up_to_the_distance_wherever_the_bits_lie(most: int):
    kept = some_hashes(200)
    index = PictureIndex(kept, range(1000, 1200), most)
    rng = np.random.default_rng(most)
    for number in range(60):
        bits = rng.permutation(64)
        near = flipped(kept[number], bits[:most].tolist(), rng.permutation(256)[: 5 * most].tolist())
        assert index.find(near) == [(1000 + number, most)]
        assert index.find(flipped(kept[number], bits[: most + 1].tolist())) == []


def test_the_fine_hash_confirms():
    (one,) = some_hashes(1)
    index = PictureIndex([one], [0], 6)
    assert index.find(flipped(one, [1, 2], list(range(30)))) == [(0, 2)]
    assert index.find(flipped(one, [1, 2], list(range(31)))) == []


def test_all_rows_of_a_picture_are_found_and_an_empty_index_finds_nothing():
    one, other = some_hashes(2)
    assert PictureIndex([one, other, one], [4, 5, 6], 6).find(one) == [(4, 0), (6, 0)]
    assert PictureIndex([], [], 6).find(one) == []
    with pytest.raises(ValueError, match="0 to 11 bits, not 12"):
        PictureIndex([], [], 12)


def question(number: int) -> list[str]:
    return words_of(f"how many of the {number} green boats on lake {number} are moored at pier {number} this evening")


def test_a_question_is_found_inside_a_longer_text():
    index = QuestionIndex([(row, question(row)) for row in range(50)], n=13)
    assert (index.compared, index.short) == (50, 0)
    text = [*words_of("some words before"), *question(7), *words_of("and after")]
    assert index.find(text, 1.0) == [(7, 1.0)]
    assert index.find(question(7)[:14], 0.1) == [(7, pytest.approx(2 / 5))]
    assert index.find(question(7)[:14], 0.5) == [] and index.find(question(7)[:12], 0.01) == []
    assert index.find(question(77), 0.01) == [] and index.find([], 0.01) == []


def test_one_question_of_several_rows():
    index = QuestionIndex([(3, question(1)), (9, question(1))], n=13)
    assert index.find(question(1), 0.5) == [(3, 1.0), (9, 1.0)]


def test_what_many_questions_share_does_not_count():
    shared = "answer the question with a single word or a short phrase and nothing else at all please"
    many = [(row, words_of(f"{shared} what is number {row}")) for row in range(COMMON + 1)]
    index = QuestionIndex(many, n=13)
    assert index.find(words_of(f"{shared} who came second in this race"), 0.01) == []
    assert [row for row, _ in index.find(words_of(f"{shared} what is number 5"), 0.5)] == [5]
    only = QuestionIndex([(row, words_of(shared)) for row in range(3)] + many, n=13)
    assert only.short == 3 and only.find_whole(words_of(shared)) == [0, 1, 2]  # nothing of its own is left of it


def a_row(pictures: list[PictureHash], *questions: str, said: str = "") -> Row:
    asked = [words_of(question) for question in questions]
    return Row(pictures, asked, [word for words in asked for word in words] + words_of(said), bool(pictures))


def test_hits_say_what_is_shared_and_how_much():
    one, other = some_hashes(2)
    long = " ".join(question(1))
    overlap = Overlap(
        [a_row([one], "what color is it"), a_row([other], long), a_row([], "what is two plus two")], 6, 13, 0.5
    )
    near = flipped(one, [5, 9])
    (hit,) = overlap.hits(a_row([near], "who is it"))
    assert (hit.row, hit.kind, hit.distance, hit.containment) == (0, "picture", 2, 0.0)
    (hit,) = overlap.hits(a_row([near, flipped(one, [1])], "What color is it?"))
    assert (hit.row, hit.kind, hit.distance, hit.containment) == (0, "both", 1, 1.0)
    assert overlap.hits(a_row([], "what color is it")) == []  # a short question counts with its picture only
    (hit,) = overlap.hits(a_row([], "unlike", said=f"well then {long}"))
    assert (hit.row, hit.kind, hit.distance) == (1, "question", -1)
    (hit,) = overlap.hits(a_row([one], "What is two plus two?"))[1:]
    assert (hit.row, hit.kind) == (2, "question")  # the other row has no picture to share
    found = overlap.hits(a_row([other, one], "what color is it", long))
    assert [(hit.row, hit.kind) for hit in found] == [(0, "both"), (1, "both")]
    found = overlap.hits(a_row([one], long))
    assert [(hit.row, hit.kind) for hit in found] == [(0, "picture"), (1, "question")]


def test_very_short_questions_never_count_alone():
    overlap = Overlap([a_row([], "is it red")], 6, 13, 0.5)
    assert overlap.hits(a_row([], "is it red")) == []


def test_a_row_whose_pictures_were_not_hashed_has_pictures_all_the_same():
    row = a_row([], "what color is it now")._replace(pictured=True)
    assert Overlap([row], 6, 13, 0.5).hits(a_row([], "what color is it now")) == []
