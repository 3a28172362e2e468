"""Answers on disk: appended, whole at the end, a line cut off by a kill forgotten."""

from __future__ import annotations

import pytest

from mm15.base.errors import DataError
from mm15.evals.predictions import Answers, Prediction, check_once


def made(number: int, answer: str = "red") -> Prediction:
    return Prediction(f"b/{number}", "q <image>", "hash", answer, ("red", "ros\u00e9"), 7, "stop", replies=("8 9",))


def test_answers_of_ranks_come_together_and_parts_go(tmp_path):
    answers = Answers(tmp_path)
    answers.add("b", [made(0), made(2)], rank=0, world=2)
    answers.add("b", [made(1)], rank=1, world=2)
    answers.add("b-two", [made(9)], rank=0, world=1)
    kept = Answers(tmp_path).kept("b")
    assert sorted(kept) == ["b/0", "b/1", "b/2"] and kept["b/1"] == made(1)
    answers.whole("b", [kept[f"b/{n}"] for n in range(3)])
    assert sorted(file.name for file in (tmp_path / "predictions").iterdir()) == ["b-two.0of1.part", "b.jsonl"]
    assert list(Answers(tmp_path).kept("b").values()) == [made(0), made(1), made(2)]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_was_cut_off_is_asked_again(tmp_path, cut: int):
    answers = Answers(tmp_path)
    answers.add("b", [made(0), made(1)])
    (part,) = (tmp_path / "predictions").iterdir()
    whole = part.read_bytes()
    part.write_bytes(whole[:-cut])
    assert list(answers.kept("b")) == ["b/0"]
    answers.add("b", [made(1)])
    assert part.read_bytes() == whole, "the next line begins on its own"


def test_other_damage_is_named(tmp_path):
    answers = Answers(tmp_path)
    answers.whole("b", [made(0)])
    file = tmp_path / "predictions" / "b.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"b\.jsonl: the last line is cut off"):
        answers.kept("b")
    file.write_text('{"key": "b/0"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:1: not an answer \(fields .*answer"):
        answers.kept("b")


def test_memory_keeps_the_same():
    answers = Answers(None)
    answers.add("b", [made(0)])
    assert answers.kept("b") == {"b/0": made(0)} and answers.kept("c") == {}


def test_once():
    check_once("b", ["1", "2"], ["2", "1"])
    with pytest.raises(DataError, match=r"b: 2 questions .*3 \(asked 0, answered 1 times\), 4 \(asked 1, answered 2"):
        check_once("b", ["3", "4", "4"], ["4"])
