"""Paired comparison of two models."""

from __future__ import annotations

import pytest

from mm15.base.errors import DataError
from mm15.evals.compare import compare, kept_predictions, sign_test
from mm15.evals.predictions import Answers, Prediction


def answered(values: list[float], name: str = "mini-vqa") -> list[Prediction]:
    return [
        Prediction(f"{name}/{n}", "q", "h", "a", ("a",), 3, "stop", scores={"exact_match": value})
        for n, value in enumerate(values)
    ]


def test_what_is_common_to_both_cancels():
    hard = [0.0, 1.0] * 100
    mine = [1.0 if n % 10 == 0 else value for n, value in enumerate(hard)]
    (found,) = compare({"mini-vqa": answered(mine)}, {"mini-vqa": answered(hard)})
    assert (found.value, found.other, found.n) == (60.0, 50.0, 200)
    assert found.difference == pytest.approx(10.0)
    assert (found.better, found.worse) == (20, 0)
    assert 0 < found.low < 10 < found.high < 20 and found.certain, "unpaired, it would be 10 plus or minus 10"
    assert found.p == pytest.approx(2 / 2**20)


def test_equal_models_do_not_differ():
    (found,) = compare({"mini-vqa": answered([1.0, 0.0])}, {"mini-vqa": answered([1.0, 0.0])})
    assert (found.difference, found.low, found.high, found.p, found.certain) == (0.0, 0.0, 0.0, 1.0, False)


def test_the_order_of_the_other_does_not_matter_but_its_items_do():
    mine, other = answered([1.0, 0.0, 0.0]), answered([1.0, 0.0, 0.0])
    assert compare({"mini-vqa": mine}, {"mini-vqa": other[::-1]})[0].better == 0
    with pytest.raises(DataError, match=r"mini-vqa: 1 items were answered by one model only \(mini-vqa/2\)"):
        compare({"mini-vqa": mine}, {"mini-vqa": other[:2]})
    assert compare({"mini-vqa": mine}, {"mini-words": other}) == []


def test_sign_test():
    assert sign_test(0, 0) == 1.0 and sign_test(5, 5) == 1.0
    assert sign_test(1, 9) == pytest.approx(22 / 1024)
    assert sign_test(600, 500) == pytest.approx(0.0028, abs=3e-4), "large counts agree with the exact value"


def test_answers_of_a_folder(tmp_path):
    with pytest.raises(DataError, match="holds no answers"):
        kept_predictions(tmp_path)
    Answers(tmp_path).whole("mini-vqa", answered([1.0]))
    assert kept_predictions(tmp_path) == {"mini-vqa": answered([1.0])}
