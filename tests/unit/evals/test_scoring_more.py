"""Tables, open answers, captions, regions and few-shot answers: the values their definitions give."""

from __future__ import annotations

import pytest

from mm15.base.types import Box, Point
from mm15.evals.scoring import (
    centre_in_box,
    cider,
    few_shot_answer,
    fold_width,
    lvis_names,
    lvis_ref,
    mathvista,
    mathvista_extract,
    mathvista_normalise,
    merged_box,
    mmmu_open,
    ocrbench,
    phrase_key,
    phrase_recall,
    ptb_tokens,
    tabfact,
    token_f1,
    vl_icl,
    vl_icl_answer,
    vqa_accuracy,
    vqa_normalise,
    wtq,
)


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("2,004", "2004", False),
        ("2004.0", "2004", True),
        ("Italy (ITA)", "Italy", True),
        ("b|a", "a|b", True),
        ("b||a", "a|b", True),
        ("a, b", "a|b", False),
        ("The answer is 5", "5", False),
        ("2000-1-1", "2000-01-01", True),
        ("2000-xx-xx", "2000", True),
        ("José", "Jose", True),
        ("3–2", "3-2", True),
        ("Paris†", "paris.", True),
        ("a|a", "a", True),
        ("nan", "nan", True),
        ("inf", "5", False),
        ("", "5", False),
    ],
)
def test_wtq(prediction, reference, right):
    assert wtq(prediction, reference) == float(right)
    assert wtq(prediction, reference.split("|")) == float(right)


def test_wtq_unescapes_bars():
    assert wtq(r"a\pb", ["a|b"]) == 1.0
    assert wtq("a|b", ["a|b"]) == 0.0


@pytest.mark.parametrize(
    ("text", "entailed", "refuted"),
    [("True", 1, 0), ("It is false.", 0, 1), ("true and false", 0, 0), ("yes", 0, 0), ("", 0, 0), ("untrue", 1, 0)],
)
def test_tabfact(text, entailed, refuted):
    assert (tabfact(text, "1"), tabfact(text, "0")) == (entailed, refuted)
    with pytest.raises(ValueError, match=r"'1' \(entailed\) or '0' \(refuted\), found"):
        tabfact(text, "true")


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("The answer is 24/7", "24/7", True),
        ("So it is 8.3 units", "8.3", True),
        ("x = 7", "7", True),
        ("It was Adams", "Adams", True),
        ("8.304", "8.3", True),
        ("1,000", "1000", True),
        ("the result is 12", "13", False),
        ("", "7", False),
        ("x", "x", True),
        ("box", "x", False),
    ],
)
def test_mmmu_open(prediction, reference, right):
    assert mmmu_open(prediction, reference) == float(right)
    assert mmmu_open(prediction, ["never", reference]) == float(right)


def test_mathvista():
    choices = ["red", "blue", "green"]
    ask = {"question_type": "multi_choice", "answer_type": "text", "choices": choices}
    assert mathvista("blue", "blue", **ask) == 1.0
    assert mathvista("(B) blue", "blue", **ask) == 1.0
    assert mathvista_normalise("blu", **ask) == "blue", "the nearest option"
    assert mathvista_normalise("C", **ask) == "green"
    assert not mathvista_extract("I think it is blue", **ask).direct
    number = {"question_type": "free_form", "answer_type": "float"}
    assert mathvista_normalise("3.14159", **number, precision=2) == "3.14"
    assert mathvista_normalise("3.14159", **number, precision=1.0) == "3.1", "as the data set stores it"
    assert mathvista_normalise("pi", **number, precision=1) is None
    whole = {"question_type": "free_form", "answer_type": "integer"}
    assert mathvista_normalise("4.9", **whole) == "4"
    assert mathvista_normalise("inf", **whole) is None
    found = mathvista_extract("There are 3 rows, so the answer is 1,012.", **whole)
    assert (found.text, found.direct) == ("1012", False)
    assert mathvista("There are 12", "12", **whole) == 1.0
    assert mathvista("", "12", **whole) == 0.0
    spans = {"question_type": "free_form", "answer_type": "list"}
    assert mathvista("Between [1999, 2001]", "[1999, 2001]", **spans) == 1.0
    with pytest.raises(ValueError, match="needs the texts of its choices"):
        mathvista_normalise("A", "multi_choice", "text")


@pytest.mark.parametrize(
    ("text", "task", "answer"),
    [
        ("dax\nQuestion", "open_mi", "dax"),
        ("dax. And", "open_mi", "dax"),
        ("a.b\nc", "textocr", "a.b"),
        (".5", "clevr", ".5"),
        ("-2", "operator_induction", "2"),
        ("is 12 or 3", "operator_induction_interleaved", "12"),
        ("none", "operator_induction", ""),
    ],
)
def test_vl_icl_answer(text, task, answer):
    assert vl_icl_answer(text, task) == answer


def test_vl_icl():
    assert vl_icl("DAX\nmore", "dax", "open_mi") == 1.0
    assert vl_icl("Yes, same", "yes", "matching_mi") == 1.0
    assert vl_icl("dunno", "No", "matching_mi") == 1.0
    assert vl_icl("no\nyes", "yes", "matching_mi") == 0.0
    assert vl_icl("-2", "-2", "operator_induction") == 0.0, "a quirk kept"
    with pytest.raises(ValueError, match="found 'clever'"):
        vl_icl("2", "2", "clever")


@pytest.mark.parametrize(
    ("text", "mm1", "flamingo"),
    [
        (" two dogs\nQuestion: where", "two dogs", "two dogs"),
        ("2.5 m. Next", "2.5 m", "2.5 m. Next"),
        ("red, blue", "red", "red"),
        ("red Question: x", "red", "red"),
        ("red Short answer", "red Short answer", "red"),
        ("", "", ""),
    ],
)
def test_few_shot_answer(text, mm1, flamingo):
    assert few_shot_answer(text) == mm1
    assert few_shot_answer(text, "openflamingo") == flamingo
    with pytest.raises(ValueError, match="'other'"):
        few_shot_answer(text, "other")


def test_vqa_rules_differ_where_they_should():
    assert [vqa_normalise("5. Dogs, it's", rule) for rule in ("evalai", "vqav2", "vlmevalkit")] == [
        "5 dogs it 's",
        "5 dogs it's",
        "5. dogs it's",
    ]
    agree = ["Two Dogs"] * 10
    assert vqa_accuracy("2 dogs", agree, rule="vqav2") == 1.0
    assert vqa_accuracy("2 dogs", agree, rule="vqav2", normalise_if_disagree=True) == 0.0
    assert vqa_accuracy(" Two\tDogs", agree, rule="vqav2", normalise_if_disagree=True) == 1.0
    assert vqa_accuracy("2 dogs", [*agree[1:], "cat"], rule="vqav2", normalise_if_disagree=True) == 1.0
    with pytest.raises(ValueError, match="found 'vqa'"):
        vqa_normalise("a", "vqa")


def test_ocrbench():
    assert ocrbench("The sign says\nSTOP", ["stop"]) == 1.0
    assert ocrbench("ＳＴＯＰ！", ["stop!"]) == 0.0
    assert ocrbench("ＳＴＯＰ！", ["stop!"], fold_full_width=True) == 1.0
    assert ocrbench(r"\frac{ x }{ 2 }", [r"\frac { x } { 2 }"], handwritten_math=True) == 1.0
    assert ocrbench("X", ["x"], handwritten_math=True) == 0.0
    assert fold_width("Ａ　ｂé") == "A bé"


def test_token_f1():
    assert token_f1("The red dog!", "red dog") == 1.0
    assert token_f1("red cat", ["blue", "red dog"]) == 0.5
    assert token_f1("the", "a") == 1.0
    assert token_f1("", "dog") == 0.0


def test_phrase_recall_merges_and_leaves_out_phrases_without_boxes():
    wanted = [[(0, 0, 10, 10), (20, 0, 30, 10)], [(0, 0, 4, 8)], []]
    assert merged_box(wanted[0]) == Box(0, 0, 30, 10)
    assert phrase_recall([[(0, 0, 30, 10)], [], [(0, 0, 1, 1)]], wanted) == 0.5
    assert phrase_recall([[(0, 0, 10, 10)], [], []], wanted) == 0.0
    assert phrase_recall([[(0, 0, 10, 10)], [], []], wanted, merged=False) == 0.5
    assert phrase_recall([[]], [[]]) == 0.0
    assert phrase_key("A  man, in the 'Red'hat.") == phrase_key("a man in the red hat")
    with pytest.raises(ValueError, match="1 predictions for 3 phrases"):
        phrase_recall([[]], wanted)
    with pytest.raises(ValueError, match="no merged box"):
        merged_box([])


def test_centre_in_box():
    assert centre_in_box((0, 0, 10, 4), (5, 2, 9, 9)) == 1.0, "the border counts"
    assert centre_in_box((0, 0, 9, 4), (5, 2, 9, 9)) == 0.0
    assert centre_in_box(Point(6, 3), Box(5, 2, 9, 9)) == centre_in_box([6, 3], (5, 2, 9, 9)) == 1.0


@pytest.mark.parametrize(
    ("answer", "names", "compat", "words"),
    [
        ("It is a cat.", ["cat"], 1, 1),
        ("It is a cart.", ["car"], 1, 0),
        ("It is a Cat.", ["cat"], 0, 1),
        ("It is not a cat, but a dog.", ["cat"], 0, 0),
        ("a notebook, or a pen", ["notebook"], 0, 1),
        ("a cat or a dog", ["cat"], 1, 1),
        ("a cat or a dog", ["dog"], 1, 1),  # repeating the question is always right: why 50 % is no chance level
        ("no idea", ["cat"], 0, 0),
    ],
)
def test_lvis_ref(answer, names, compat, words):
    assert lvis_ref(answer, names) == compat
    assert lvis_ref(answer, names, rule="words") == words


def test_lvis_names():
    assert lvis_names("bow_tie", ["bow_(weapon)", "tie"]) == ["bow tie", "bow", "weapon", "tie"]


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man's dog isn't here.", "a man 's dog is n't here"),
        ('Two kids (a boy); "fun"!', "two kids -lrb- a boy -rrb- fun"),
        ("It costs $5.00 - 50% off...", "it costs $ 5.00 50 % off"),
        ("cat/dog in the U.S. at 5 p.m.", "cat/dog in the u.s. at 5 p.m."),
        ("I cannot; it’s 2\u00a01/2 black-and-white", "i can not it 's 2 1/2 black-and-white"),
        ("", ""),
    ],
)
def test_ptb_tokens(caption, tokens):
    assert ptb_tokens(caption) == tokens.split()


def test_cider():
    predictions = ["a red dog runs on grass", "two cats sit by a wall"]
    result = cider(predictions, [[text] for text in predictions])
    assert result.score == pytest.approx(10.0), "equal to the only reference, no n-gram shared"
    assert result.per_item == pytest.approx((10.0, 10.0))
    assert cider(predictions[:1], [predictions[:1]]).score == 0.0, "one picture has no document frequencies"
    mixed = cider(["a red dog runs on grass", ""], [[predictions[0], "grass"], [predictions[1]]])
    assert 0 < mixed.per_item[0] < 10
    assert mixed.per_item[1] == 0.0
    assert cider(predictions, [["x y z"], ["q"]]).score == 0.0
    with pytest.raises(ValueError, match="1 predictions, 2 lists of references, 1 of them empty"):
        cider(["a"], [["a"], []])
