"""Benchmarks of knowledge: prompts, sub-scores, the other shapes of their files, strange rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError, DataError
from mm15.base.types import ImagePart, TextPart
from mm15.evals.benchmark import find
from mm15.evals.benchmarks import scienceqa
from mm15.evals.items import Item, prompt_text, texts
from mm15.evals.results import reported
from official.mathvista import rows as mathvista_rows
from official.mmmu import row as mmmu_row
from official_fixture import base64_picture, cell, official, parquet, save_picture, tsv

WORD = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."


def items_of(name: str, root: Path, partial: bool = True, **options: Any) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial, options))


@pytest.mark.parametrize(
    ("name", "number", "prompt"),
    [
        ("ai2d", 0, f"<image>\nWhich part does letter 0 name?\nA. root\nB. stem\nC. leaf\nD. bark\n{LETTER}"),
        ("scienceqa", 0, f"<image>\nWill these magnets 0 attract or repel?\nA. attract\nB. repel\n{LETTER}"),
        (
            "scienceqa",
            1,
            "<image>\nContext: Two magnets are shown.\nWill these magnets 1 attract or repel?\n"
            f"A. attract\nB. repel\nC. neither\n{LETTER}",
        ),
        ("mmmu", 0, f"<image> What is the rent?\nA. $6\nB. $8\nC. $10\n\n{LETTER}"),
        ("mmmu", 1, f"Which of these is it?\nA. <image>\nB. <image>\n\n{LETTER}"),
        ("mmmu", 3, f"<image> What is the ratio?\n\n{WORD}"),
        ("mathvista", 0, "<image>\nHint: Please answer the question.\nQuestion: What is number 1?"),
    ],
)
def test_the_prompt_is_the_published_one(name: str, number: int, prompt: str, tmp_path):
    official(name).write(tmp_path / name)
    assert prompt_text(items_of(name, tmp_path)[number].sample) == prompt


# ---- AI2D ----


def test_ai2d_as_a_table_and_right_answers_that_are_none(tmp_path):
    options = {"A": "1", "B": "None", "C": "3", "D": ""}
    row = {"index": 7, "image": base64_picture(0, 30, 44), "question": "How many?", **options, "answer": "C"}
    tsv(tmp_path / "ai2d" / "AI2D_TEST.tsv", [row])
    (item,) = items_of("ai2d", tmp_path)
    assert prompt_text(item.sample) == f"<image>\nHow many?\nA. 1\nB. None\nC. 3\n{LETTER}"
    assert (texts(item), item.size) == (["C"], (30, 44))
    tsv(tmp_path / "ai2d" / "AI2D_TEST.tsv", [{**row, "answer": "D"}, {**row, "answer": ""}])
    with pytest.raises(DataError, match="2 problems") as error:
        items_of("ai2d", tmp_path)
    assert "'D' is none of the 3 options" in str(error.value)
    parquet(
        tmp_path / "ai2d" / "data" / "test-0.parquet",
        [{"question": "Which?", "options": ["a", "b"], "answer": "2", "image": cell(1)}],
    )
    with pytest.raises(DataError, match="'2' is none of the 2 options"):
        items_of("ai2d", tmp_path)


# ---- ScienceQA ----


def test_questions_of_scienceqa_without_a_picture_are_passed_over(tmp_path, monkeypatch):
    row = {"question": "Which?", "choices": ["a", "b"], "answer": 1, "hint": "", "subject": "social science"}
    parquet(
        tmp_path / "scienceqa" / "ScienceQA-FULL" / "test-0.parquet",
        [{**row, "image": cell(3)}, {**row, "image": None}],
    )
    (item,) = items_of("scienceqa", tmp_path)
    assert (item.task, texts(item), item.key) == ("social science", ["B"], "scienceqa/0")
    monkeypatch.setattr(scienceqa, "RELEASES", tuple(replace(release, rows=0) for release in scienceqa.RELEASES))
    with pytest.raises(DataError, match="1 questions with a picture where the official test split has 2017"):
        items_of("scienceqa", tmp_path, partial=False)


def test_the_authors_scienceqa_is_an_object_of_problems(tmp_path):
    problem = {
        "question": "Which is it?",
        "choices": ["Asia", "Africa"],
        "answer": 0,
        "hint": "A map.",
        "image": "image.png",
        "subject": "social science",
        "split": "test",
    }
    problems = {"12": problem, "13": {**problem, "image": None}, "14": {**problem, "split": "train"}}
    folder = tmp_path / "scienceqa"
    save_picture(folder / "images" / "test" / "12" / "image.png", 0, 60, 20)
    (folder / "problems.json").write_text(json.dumps(problems))
    (item,) = items_of("scienceqa", tmp_path)
    assert (item.size, texts(item)) == ((60, 20), ["A"])
    asked = "<image>\nContext: A map.\nWhich is it?\nA. Asia\nB. Africa"
    assert prompt_text(item.sample) == f"{asked}\n{LETTER}"
    (folder / "problems.json").write_text(json.dumps({"14": problems["14"]}))
    with pytest.raises(DataError, match=r"another split or subset.* split: train"):
        items_of("scienceqa", tmp_path)


def test_scienceqa_as_a_table(tmp_path):
    row = {"index": 3, "image": base64_picture(5, 25, 31), "question": "Which?", "hint": "Look.", "answer": "B"}
    tsv(tmp_path / "scienceqa" / "ScienceQA_TEST.tsv", [{**row, "A": "x", "B": "y", "C": ""}])
    (item,) = items_of("scienceqa", tmp_path)
    assert prompt_text(item.sample) == f"<image>\nContext: Look.\nWhich?\nA. x\nB. y\n{LETTER}"


# ---- MMMU ----


def write_mmmu(folder: Path, *rows: dict[str, Any]) -> None:
    parquet(folder / "mmmu" / "data" / "validation-00000-of-00001.parquet", rows)


def test_a_picture_stands_where_the_text_first_names_it(tmp_path):
    write_mmmu(
        tmp_path,
        mmmu_row("Math", 1, "See <image 2>, then <image 1>. Is <image 2> larger?", ["yes", "no"], "A", 3),
        mmmu_row("Math", 2, "Is it larger?", ["yes", "no"], "B", 2),
    )
    first, second = items_of("mmmu", tmp_path)
    parts = first.sample.messages[0].parts
    assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart, ImagePart, TextPart]
    assert [image.media.member for image in first.sample.images] == ["0:image_2", "0:image_1"]
    assert prompt_text(first.sample).startswith("See <image>, then <image>. Is <image 2> larger?\nA. yes")
    assert prompt_text(second.sample) == f"<image><image>\nIs it larger?\nA. yes\nB. no\n\n{LETTER}"
    assert (first.key, first.task) == ("mmmu/validation_Math_1", "Math")


def test_open_questions_of_mmmu_have_one_right_answer_or_several(tmp_path):
    write_mmmu(
        tmp_path,
        mmmu_row("Math", 1, "<image 1> What ratio?", [], "['24/7', '3.43']", 1),
        mmmu_row("Math", 2, "<image 1> What?", [], "[x] marks it", 1) | {"answer": "$1,000"},
    )
    first, second = items_of("mmmu", tmp_path)
    assert (texts(first), texts(second)) == (["24/7", "3.43"], ["$1,000"])
    score = find("mmmu").score
    assert [score(answer, first)["accuracy"] for answer in ("3.43", "so it is 24/7", "24")] == [1, 1, 0]


def test_strange_rows_of_mmmu_are_all_told(tmp_path):
    write_mmmu(
        tmp_path,
        mmmu_row("Math", 1, "<image 2> What?", ["a", "b"], "A", 1),
        mmmu_row("Math", 2, "What?", ["a", "b"], "A", 0),
        mmmu_row("Math", 3, "<image 1> What?", ["a", "b"], "C", 1),
        {**mmmu_row("Math", 4, "<image 1> What?", ["a"], "A", 1), "options": "['a"},
        {**mmmu_row("Math", 5, "<image 1> What?", ["a"], "A", 1), "id": "test_Math_5"},
        {**mmmu_row("Math", 6, "<image 1> What?", ["a"], "A", 1), "options": "[]"},
    )
    with pytest.raises(DataError, match="6 problems") as error:
        items_of("mmmu", tmp_path)
    for told in (
        "mentions <image 2>, and 'image_2' is empty",
        "without pictures",
        "'C' is none of the 2 options",
        "'options' is no list",
        "not of the validation split",
        "a list with something in it, found '[]'",
    ):
        assert told in str(error.value)


def test_mmmu_has_sub_scores_by_subject(tmp_path):
    official("mmmu").write(tmp_path / "mmmu")
    items = items_of("mmmu", tmp_path)
    values = find("mmmu").score_all(["B", "B", "C", "none"], items)
    scores = {score.metric: (score.value, score.n) for score in reported(find("mmmu"), values, items)}
    assert scores == {
        "accuracy": (50.0, 4),
        "accuracy (Accounting)": (50.0, 2),
        "accuracy (Agriculture_Science)": (50.0, 2),
    }


# ---- MathVista ----


def test_mathvista_counts_the_answers_that_needed_our_rules(tmp_path):
    official("mathvista").write(tmp_path / "mathvista")
    items = items_of("mathvista", tmp_path)
    answers = ["The correct option is (C).", "12", "about 2.46 cm", ""]
    values = find("mathvista").score_all(answers, items)
    assert values == [
        {"accuracy": 1.0, "by_rule": 1.0},
        {"accuracy": 1.0, "by_rule": 0.0},
        {"accuracy": 1.0, "by_rule": 1.0},
        {"accuracy": 0.0, "by_rule": 0.0},
    ]
    scores = {score.metric: score.value for score in reported(find("mathvista"), values, items)}
    assert (scores["accuracy"], scores["by_rule"]) == (75, 50)
    assert scores["accuracy (math word problem)"] == 100, "the first and the third"
    assert scores["accuracy (figure question answering)"] == 50


def test_mathvista_can_be_asked_for_short_answers(tmp_path):
    official("mathvista").write(tmp_path / "mathvista")
    prompts = [prompt_text(item.sample) for item in items_of("mathvista", tmp_path, prompt="short")]
    assert prompts == [
        f"<image>\nWhat is number 1?\nA. 30°\nB. 45°\nC. 60°\n{LETTER}",
        "<image>\nWhat is number 2?\nAnswer the question using a single integer number.",
        "<image>\nWhat is number 3? (Unit: cm)\n"
        "Answer the question using a single floating-point number with one decimal place.",
        "<image>\nWhat is number 4?\nAnswer the question using a Python list.",
    ]
    with pytest.raises(ConfigError, match="prompt"):
        items_of("mathvista", tmp_path, prompt="long")


def test_the_authors_mathvista_is_an_object_of_problems(tmp_path):
    folder = tmp_path / "mathvista"
    problems = {}
    for row in mathvista_rows():
        save_picture(folder / row["image"], 1, 64, 31)
        problems[row["pid"]] = {name: value for name, value in row.items() if name != "decoded_image"}
    (folder / "testmini.json").write_text(json.dumps(problems))
    items = items_of("mathvista", tmp_path)
    assert [item.key for item in items] == [f"mathvista/{n}" for n in (1, 2, 3, 4)]
    assert items[0].size == (64, 31) and items[0].facts["options"] == ["30°", "45°", "60°"]
    problems["2"]["answer"] = ""
    problems["3"]["answer_type"] = "complex"
    problems["1"]["choices"] = None
    (folder / "testmini.json").write_text(json.dumps(problems))
    with pytest.raises(DataError, match="3 problems") as error:
        items_of("mathvista", tmp_path)
    assert "not public, testmini has them" in str(error.value) and "'complex' with 0 options" in str(error.value)
