"""Metrics against the values their definitions give, and against slow, obvious versions of themselves."""

from __future__ import annotations

import random

import pytest

from mm15.base.types import Box
from mm15.evals.scoring import (
    anls,
    box_iou,
    char_accuracy,
    choice_letter,
    contains,
    edit_distance,
    exact_match,
    grounding_accuracy,
    multiple_choice,
    relaxed_accuracy,
    vqa_accuracy,
    vqa_normalise,
    yes_no,
    yes_or_no,
)


@pytest.mark.parametrize(
    ("prediction", "references", "score"),
    [
        ("42", ["43"], 0.5),
        ("abcd", ["abxy"], 0.5),
        ("142", ["143"], 2 / 3),
        ("", ["a"], 0.0),
        ("a", ["xyz", "A "], 1.0),
        ("ab", ["ax   "], 0.8),  # one edit over five characters: the raw length divides
        ("New  York", ["new york"], 1.0),
        ("", [""], 1.0),
    ],
)
def test_anls(prediction, references, score):
    assert anls(prediction, references) == pytest.approx(score)


def test_anls_boundary():
    assert anls("42", ["43"], boundary="strict") == 0.0
    assert anls("142", ["143"], boundary="strict") == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="'keep' or 'strict', found 'open'"):
        anls("a", ["a"], boundary="open")


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("105", "100", True),
        ("105.01", "100", False),
        ("0.0", "0", False),
        ("0", "0", True),
        ("1,000", "1000", False),
        ("12", "12%", False),
        ("12%", "0.12", True),
        ("2009", "2010", True),
        ("-95", "-100", True),
        ("Oslo", "oslo", True),
        ("nan", "nan", False),
        ("", "3", False),
    ],
)
def test_relaxed_accuracy(prediction, reference, right):
    assert relaxed_accuracy(prediction, [reference]) == float(right)
    assert relaxed_accuracy(prediction, ["never this", reference]) == float(right)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10:30", "10:30"),
        ("1,000", "1000"),
        ("U.S.A.", "usa"),
        ("3/4", "3 4"),
        ("well-known", "well known"),
        ("$5.00", "$5.00"),
        ("2.5 m", "2.5 m"),
        ("none", "0"),
        ("it's a dog's", "it 's dog 's"),
        ("The  two, dogs?", "2 dogs"),
        ("yall'd've dont", "y'all'd've don't"),
        ("oclock", "o'clock"),
        ("somebody'd", "somebodyd"),
        ("a -b", "b"),
        ("." * 40, "." * 8),
        ("\n\t", ""),
    ],
)
def test_vqa_normalise(text, wanted):
    assert vqa_normalise(text) == wanted


@pytest.mark.parametrize(("matches", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_leaves_one_annotator_out(matches, score):
    references = ["Two."] * matches + [f"other {n}" for n in range(10 - matches)]
    assert vqa_accuracy("2", references) == pytest.approx(score)
    assert vqa_accuracy("2", references, leave_one_out=False) == pytest.approx(min(1, matches / 3))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" b ", "B"),
        ("(c)", "C"),
        ("D.", "D"),
        ("B) red", "B"),
        ("(b) red", "B"),
        ("A, because", "A"),
        ("The answer is C.", "C"),
        ("answer: (D)", "D"),
        ("So the correct option is B", "B"),
        ("A red ball", None),
        ("The answer is A's brother", None),
        ("Because", None),
        ("", None),
        ("42", None),
    ],
)
def test_choice_letter(text, letter):
    assert choice_letter(text) == letter


def test_multiple_choice_and_yes_no_never_guess():
    assert multiple_choice("(B) blue", ["B"]) == 1.0
    assert multiple_choice("C", ["B"]) == 0.0
    assert multiple_choice("blue", ["blue"]) == 0.0, "no letter is wrong, even if the reference has none either"
    assert [yes_or_no(text) for text in ("Yes.", "no", "yes and no", "not", "know", "")] == ["yes", "no", *[None] * 4]
    assert yes_no("Yes, it is", "yes") == 1.0
    assert yes_no("", "no") == 0.0


def test_exact_match_and_contains():
    assert exact_match(" Two  Cats. ", ["dog", "two cats"]) == 1.0
    assert exact_match("two cats", "two cat") == 0.0
    assert exact_match("cat", "cat") == 1.0, "one string is one reference, not its letters"
    assert exact_match("c", "cat") == 0.0
    assert contains("The sign says\nSTOP here", ["stop"]) == 1.0
    assert contains("STO P", ["stop"]) == 0.0
    with pytest.raises(ValueError, match="at least one reference"):
        exact_match("a", [])


def test_char_accuracy():
    assert char_accuracy("hello", "hello") == 1.0
    assert char_accuracy("hallo", "hello") == pytest.approx(0.8)
    assert char_accuracy("Hello", "hello") == pytest.approx(0.8), "case counts"
    assert char_accuracy("hel  lo", "hel lo") == 1.0
    assert char_accuracy("", "hello") == 0.0
    assert char_accuracy("", "") == 1.0
    assert char_accuracy("x" * 100, "abc") == 0.0


def test_edit_distance_equals_the_table():
    def table(a: str, b: str) -> int:
        above = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row = [i]
            for j, y in enumerate(b, 1):
                row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
            above = row
        return above[-1]

    rng = random.Random(0)
    for _ in range(2000):
        a, b = ("".join(rng.choices("abé ", k=rng.randrange(12))) for _ in range(2))
        assert edit_distance(a, b) == table(a, b), (a, b)
    long_a, long_b = ("".join(rng.choices("abcdef", k=200)) for _ in range(2))
    assert edit_distance(long_a, long_b) == table(long_a, long_b)


def test_box_iou_is_symmetric_bounded_and_exact():
    assert box_iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert box_iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box_iou(Box(0, 0, 10, 10), [0, 0, 10, 5]) == 0.5
    assert box_iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
    assert box_iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0.0, "no area"
    rng = random.Random(1)
    for _ in range(500):
        a, b = ([rng.uniform(-5, 5) for _ in range(4)] for _ in range(2))
        assert box_iou(a, b) == box_iou(b, a)
        assert 0 <= box_iou(a, b) <= 1


def test_grounding_takes_the_first_box_and_the_threshold_is_reached_at_one_half():
    target = [Box(0, 0, 10, 10)]
    assert grounding_accuracy([(0, 0, 10, 5)], target) == 1.0
    assert grounding_accuracy([(0, 0, 10, 4.9)], target) == 0.0
    assert grounding_accuracy([(50, 50, 60, 60), (0, 0, 10, 10)], target) == 0.0
    assert grounding_accuracy([], target) == 0.0
    assert grounding_accuracy([(50, 50, 60, 60)], [*target, Box(50, 50, 61, 60)]) == 1.0


@pytest.mark.parametrize("metric", [exact_match, contains, char_accuracy, anls, relaxed_accuracy, vqa_accuracy, yes_no])
def test_scores_stay_between_0_and_1_whatever_the_text(metric):
    rng = random.Random(2)
    letters = "aA1.%,?! \n\té\U0001f600\u200b\x00()[]yesno"
    for _ in range(300):
        prediction, *references = ("".join(rng.choices(letters, k=rng.randrange(9))) for _ in range(4))
        assert 0 <= metric(prediction, references) <= 1
