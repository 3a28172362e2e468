"""Options, yes or no, and judged replies: the values their definitions give."""

from __future__ import annotations

import random

import pytest

from mm15.evals.scoring import (
    MME_COGNITION,
    MME_PERCEPTION,
    STRATEGIES,
    BinaryCounts,
    Verdict,
    binary_accuracy,
    binary_f1,
    binary_f1_of,
    binary_precision,
    binary_recall,
    count_binary,
    extract_choice,
    final_answer,
    judged_accuracy,
    mm_vet_score,
    mme,
    mme_answer,
    mme_normalised,
    mme_subtask,
    mme_sums,
    multiple_choice,
    pope,
    pope_answer,
    qa_verdict,
    ratio_of_means,
    two_scores,
    vcg_score,
    yes_ratio,
)

COLOURS = ["red", "green", "blue", "teal"]


@pytest.mark.parametrize(
    ("strategy", "text", "letter"),
    [
        ("first_char", "B. green", "B"),
        ("first_char", " c", "C"),
        ("first_char", "The answer is B", None),  # T is no option
        ("first_char", "", None),
        ("letter_dot", "  B. green", "B"),
        ("letter_dot", "(b)", "B"),
        ("letter_dot", "B green", None),
        ("letter_dot", "AB", None),
        ("scienceqa", "b", "B"),
        ("scienceqa", "B. green", "B"),
        ("scienceqa", "b. green", None),
        ("scienceqa", "(B)", None),
        ("paren_prefix", "(B) green", "B"),
        ("paren_prefix", "because", "B"),
        ("paren_prefix", "The answer is B", None),
        ("blink", "The correct answer is (B).", "B"),
        ("blink", "B", "B"),
        ("blink", "I pick (C), not (D)", "D"),
        ("blink", "because", "B"),
        ("mmmu", "(A) or (C)", "C"),
        ("mmmu", "B.", "B"),
        ("mmmu", "I am quite sure that it is teal, really", "D"),
        ("mmmu", "it is teal", None),
        ("priority", "The correct answer is (B).", "B"),
        ("priority", "A dog, so the answer is C", "A"),
        ("priority", "Not (A), I choose D now", "D"),
        ("priority", "no letter", None),
        ("mantis", "Final Answer: C", "C"),
        ("mantis", "the answer is b", "B"),
        ("mantis", "teal", "D"),
        ("mantis", "ß", None),
        ("can_infer", "It is B.", "B"),
        ("can_infer", "A or B", None),
        ("can_infer", "the blue one", "C"),
        ("can_infer", "B is what I would pick if asked", None),
        ("can_infer", "Z", None),
    ],
)
def test_extract_choice(strategy, text, letter):
    assert extract_choice(text, COLOURS, strategy) == letter
    assert multiple_choice(text, "B", COLOURS, strategy) == float(letter == "B")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_extracted_letter_is_an_option_and_a_guess_only_on_request(strategy):
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choices("ABDZab ().:ßﬁ*\n is", k=rng.randrange(9)))
        letter = extract_choice(text, COLOURS[:2], strategy)
        assert letter in ("A", "B", None)
        guessed = extract_choice(text, COLOURS[:2], strategy, guess=random.Random(1))
        assert guessed == (letter or random.Random(1).choice("AB"))


def test_extract_choice_refuses_what_is_no_question():
    with pytest.raises(ValueError, match=r"strategy must be one of first_char, .* found 'best'"):
        extract_choice("A", COLOURS, "best")
    with pytest.raises(ValueError, match="1 to 26 choices, found 0"):
        extract_choice("A", [], "mmmu")


def test_final_answer():
    assert final_answer("Hm. FINAL ANSWER: two dogs ") == "two dogs"
    assert final_answer("so the answer is: 4") == ": 4"
    assert final_answer("Answer: 4") == "4"
    assert final_answer("four") == "four"


@pytest.mark.parametrize(
    ("text", "official", "kit", "exact"),
    [
        ("Yes.", "yes", "yes", None),
        ("yes", "yes", "yes", "yes"),
        ("No, there is not", "no", "no", None),
        ("There is not a dog.", "no", None, None),
        ("NO", "yes", "no", "no"),
        ("Yes. No.", "yes", None, None),
        ("", "yes", None, None),
        ("know", "yes", None, None),
    ],
)
def test_pope_answer(text, official, kit, exact):
    assert pope_answer(text) == official
    assert pope_answer(text, "vlmevalkit") == kit
    assert pope_answer(text, "exact") == exact
    assert pope(text, "no") == float(official == "no")
    with pytest.raises(ValueError, match="'mine'"):
        pope_answer(text, "mine")


def test_counts_and_what_follows_from_them():
    answers = ["yes", "yes", "yes", "no", "no", None, None]
    truths = ["yes", "yes", "no", "no", "yes", "yes", "no"]
    counts = count_binary(answers, truths)
    assert counts == BinaryCounts(yes_right=2, yes_wrong=1, no_right=1, no_wrong=1, unread_yes=1, unread_no=1)
    assert binary_accuracy(counts) == pytest.approx(3 / 7)
    assert binary_precision(counts) == pytest.approx(2 / 3)
    assert binary_recall(counts) == pytest.approx(2 / 4)
    assert binary_f1_of(counts) == binary_f1(answers, truths) == pytest.approx(4 / 7)
    assert yes_ratio(counts) == pytest.approx(3 / 7), "of the answers, not of the truths"
    assert binary_f1_of(BinaryCounts()) == binary_accuracy(BinaryCounts()) == 0.0
    with pytest.raises(ValueError, match="found 'maybe', 'yes'"):
        count_binary(["maybe"], ["yes"])
    with pytest.raises(ValueError, match="argument"):
        count_binary(["yes"], ["yes", "no"])


def test_pope_of_a_model_that_always_says_yes():
    counts = count_binary(["yes"] * 3000, ["yes", "no"] * 1500)
    assert (binary_accuracy(counts), yes_ratio(counts)) == (0.5, 1.0)
    assert binary_f1_of(counts) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.", "yes"),
        ("n", "no"),
        ("know", "no"),
        ("now", "no"),
        ("It is yes", None),
        ("", None),
        ("Y.", "yes"),
        ("q", None),
    ],
)
def test_mme_answer(text, answer):
    assert mme_answer(text) == answer
    assert mme(text, "No") == float(answer == "no")


def test_mme_of_a_model_that_always_says_yes_is_a_quarter():
    subtasks = {name: mme_subtask({"a": (1, 0), "b": (0, 1)}) for name in (*MME_PERCEPTION, *MME_COGNITION)}
    perception, cognition = mme_sums(subtasks)
    assert (perception, cognition) == (500, 200)
    assert mme_normalised(perception, cognition) == 25.0
    assert mme_normalised(2000, 800) == 100.0
    assert mme_subtask({"a": (1, 1), "b": (1, 0)}) == 75 + 50


def test_mme_refuses_half_a_picture_and_half_a_benchmark():
    with pytest.raises(ValueError, match=r"two questions about a picture; not so: \['b'\]"):
        mme_subtask({"a": (1, 1), "b": (1,)})
    with pytest.raises(ValueError, match="no picture at all"):
        mme_subtask({})
    with pytest.raises(ValueError, match=r"unknown: \['colour'\]"):
        mme_sums({"colour": 3.0})


@pytest.mark.parametrize(
    ("review", "scores"),
    [
        ("8 9\nBoth are good.", (8.0, 9.0)),
        ("8.5,9", (8.5, 9.0)),
        ("8, 9", (8.0, 9.0)),
        ("8", None),
        ("8 9 7", None),
        ("eight nine", None),
        ("-1 5", None),
        ("", None),
        ("\n8 9", None),
    ],
)
def test_two_scores(review, scores):
    assert two_scores(review) == scores


def test_ratio_of_means_is_no_mean_of_ratios():
    assert ratio_of_means([(10, 5), (5, 5)]) == pytest.approx(10 / 15)
    with pytest.raises(ValueError, match="above zero"):
        ratio_of_means([])


@pytest.mark.parametrize(
    ("reply", "score"), [("0.5", 0.5), (" 1.0 because", 1.0), ("1.5", None), ("nan", None), ("x", None), ("", None)]
)
def test_mm_vet_score(reply, score):
    assert mm_vet_score(reply) == score


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("{'pred': 'yes', 'score': 4.8}", Verdict("yes", 4)),
        ('Sure: {"pred": "No", "score": 0}.', Verdict("no", 0)),
        ("{'pred': 'maybe', 'score': 2}", Verdict(None, 2)),
        ("{'pred': 'yes', 'score': __import__('os').getpid()}", None),
        ("{'pred': 'yes'}", None),
        ("{'pred': 3, 'score': 4}", None),
        ("yes 5", None),
    ],
)
def test_qa_verdict_reads_and_never_runs(reply, verdict):
    assert qa_verdict(reply) == verdict


def test_judged_accuracy_and_vcg_score():
    assert judged_accuracy([Verdict("yes", 5), Verdict("no", 0), Verdict(None, 2)]) == 0.5
    assert judged_accuracy([]) == 0.0
    assert [vcg_score(text) for text in ("{'score': 4.8}", '{"score": 3}', "4", "{'why': 1}")] == [4, 3, None, 0]
