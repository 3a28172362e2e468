"""Judged benchmarks of general ability: what the judge is asked, what follows from its replies, other file shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import DataError
from mm15.evals.benchmark import find
from mm15.evals.benchmarks import llava_w, mm_vet
from mm15.evals.items import Item, prompt_text, texts
from mm15.evals.judge import Messages, Recorded
from mm15.evals.predictions import Prediction
from mm15.evals.results import EvalReport, ask_judge, summary
from official_fixture import base64_picture, cell, official, parquet, save_picture, tsv


class Scripted:
    """A judge that gives the replies it was made with, in order, and keeps what it was asked."""

    name = "scripted-1"

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Messages] = []

    def ask(self, messages: Messages) -> str:
        self.asked.append(messages)
        return self.replies[len(self.asked) - 1]


def items_of(name: str, root: Path, **options: Any) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, True, options))


def answered(items: Sequence[Item], answers: Sequence[str], errors: Sequence[str] = ()) -> list[Prediction]:
    found = [*errors, *[""] * (len(items) - len(errors))]
    return [
        Prediction(item.key, "", "", answer, (), 1, "stop", error=error)
        for item, answer, error in zip(items, answers, found, strict=True)
    ]


def judged(name: str, items: Sequence[Item], answers: Sequence[str], judge: Any, **kept: Any) -> EvalReport:
    predictions = ask_judge(find(name), answered(items, answers, **kept), items, judge, None)
    return summary({name: predictions}, {name: items}, "paper", judge=judge.name)


def numbers(report: EvalReport) -> dict[str, float]:
    return {score.metric: score.value for score in (*report.scores, *report.details)}


# ---- LLaVA-Bench in the Wild ----


def test_the_judge_sees_caption_question_and_both_answers(tmp_path):
    official("llava-w").write(tmp_path / "llava-w")
    items = items_of("llava-w", tmp_path)
    assert prompt_text(items[1].sample) == "<image>\nWhat is in part 1?"
    assert items[0].group == items[1].group != items[2].group
    (asked,) = llava_w.judge_prompts("Two houses.", items[1])
    assert asked[0] == {"role": "system", "content": llava_w.SYSTEM}
    assert asked[1]["content"] == (
        "[Context]\nA street with 0 houses.\n\n[Question]\nWhat is in part 1?\n\n"
        "[Assistant 1]\nThere are 1 houses.\n\n[End of Assistant 1]\n\n"
        "[Assistant 2]\nTwo houses.\n\n[End of Assistant 2]\n\n"
        f"[System]\n{llava_w.RULE}\n\n"
    )
    assert llava_w.judge_prompts(" ", items[1]) == []


def test_the_score_is_the_ratio_of_means(tmp_path):
    official("llava-w").write(tmp_path / "llava-w")
    items = items_of("llava-w", tmp_path)
    assert [item.task for item in items] == ["conv", "detail", "complex", "conv"]
    judge = Scripted("10 5\nbecause", "8 8", "8, 4", "9 6")
    found = numbers(judged("llava-w", items, ["a", "b", "c", "d"], judge))
    assert found["relative_score"] == pytest.approx(100 * 23 / 35)
    assert found["relative_score (conv)"] == pytest.approx(100 * 11 / 19)
    assert (found["relative_score (detail)"], found["relative_score (complex)"]) == (100, 50)
    assert found["readable"] == 100


def test_silence_counts_nothing_and_an_unreadable_review_is_told(tmp_path):
    official("llava-w").write(tmp_path / "llava-w")
    items = items_of("llava-w", tmp_path)
    judge = Scripted("8 8", "both are good", "10 5")
    found = numbers(judged("llava-w", items, ["a", "b", "c", ""], judge))
    assert len(judge.asked) == 3
    # The model: 8, 5 and 0 of three answers; GPT-4: 8 and 10 of two reviews.
    assert found["relative_score"] == pytest.approx(100 * (13 / 3) / 9)
    assert found["readable"] == pytest.approx(200 / 3)
    assert found["relative_score (detail)"] == 0
    only = numbers(judged("llava-w", items, ["a", "", "", ""], Scripted("no numbers")))
    assert (only["relative_score"], only["readable"]) == (0, 0)


def test_replies_are_recorded_and_replayed_without_a_judge(tmp_path):
    official("llava-w").write(tmp_path / "llava-w")
    items = items_of("llava-w", tmp_path)
    file = tmp_path / "replies.jsonl"
    judge = Scripted("10 5", "8 8", "8 4", "9 6")
    first = judged("llava-w", items, ["a", "b", "c", "d"], Recorded(file, judge))
    again = judged("llava-w", items, ["a", "b", "c", "d"], Recorded(file))
    assert numbers(again) == numbers(first) and again.judge == "scripted-1" and len(judge.asked) == 4
    with pytest.raises(DataError, match="holds no reply"):
        judged("llava-w", items, ["a", "b", "c", "another"], Recorded(file))


def write_llava(folder: Path, **context: Any) -> None:
    rows = {
        "questions": [{"question_id": 0, "image": "001.jpg", "text": "What is it?", "category": "conv"}],
        "context": [{"id": "001", "image": "001.jpg", "caption": ["A lake.", "Two boats."], **context}],
        "answers_gpt4": [{"question_id": 0, "text": "A lake with boats.", "category": "conv"}],
    }
    for name, listed in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))


def test_the_authors_three_files_are_put_together(tmp_path):
    folder = tmp_path / "llava-w"
    save_picture(folder / "images" / "001.jpg", 0, 77, 33)
    write_llava(folder)
    (item,) = items_of("llava-w", tmp_path)
    assert (item.size, texts(item), item.facts["caption"]) == ((77, 33), ["A lake with boats."], "A lake.\nTwo boats.")
    write_llava(folder, image="002.jpg")
    with pytest.raises(DataError, match="no description of the picture"):
        items_of("llava-w", tmp_path)
    (folder / "answers_gpt4.jsonl").unlink()
    with pytest.raises(DataError, match=r"answers_gpt4\.jsonl"):
        items_of("llava-w", tmp_path)


def test_llava_bench_as_a_table(tmp_path):
    row = {"index": 1, "image": base64_picture(1, 40, 60), "question": "What?", "caption": "A lake.", "gpt4_ans": "It."}
    tsv(tmp_path / "llava-w" / "LLaVABench.tsv", [{**row, "category": "detail"}])
    (item,) = items_of("llava-w", tmp_path)
    assert (item.task, texts(item), item.facts["caption"]) == ("detail", ["It."], "A lake.")
    tsv(
        tmp_path / "llava-w" / "LLaVABench.tsv",
        [{**row, "category": "detail", "gpt4_ans": ""}, {**row, "category": "x"}],
    )
    with pytest.raises(DataError, match="2 problems") as error:
        items_of("llava-w", tmp_path)
    assert "no answer of GPT-4" in str(error.value) and "unknown category 'x'" in str(error.value)


# ---- MM-Vet ----


def test_the_grading_table_ends_with_this_answer(tmp_path):
    official("mm-vet").write(tmp_path / "mm-vet")
    items = items_of("mm-vet", tmp_path)
    assert prompt_text(items[0].sample) == f"<image>\n{mm_vet.REASONING}What is x in equation 0?"
    plain = items_of("mm-vet", tmp_path, reasoning=False)
    assert prompt_text(plain[0].sample) == "<image>\nWhat is x in equation 0?"
    (asked,) = mm_vet.judge_prompts("x = 3", items[0])
    lines = asked[0]["content"].split("\n")
    assert asked[0]["role"] == "user" and len(asked) == 1
    assert lines[1:4] == ["", "Question | Ground truth | Prediction | Correctness", "--- | --- | --- | ---"]
    assert [line.rpartition("| ")[2] for line in lines[4:11]] == ["0.0", "0.5", "0.5", "0.5", "1.0", "0.4", "1.0"]
    assert lines[-1] == "What is x in equation 0? | -0 <AND> -5 | x = 3 | "
    assert mm_vet.judge_prompts("", items[0]) == []


def test_every_ability_has_the_mean_of_the_questions_that_need_it(tmp_path):
    official("mm-vet").write(tmp_path / "mm-vet")
    items = items_of("mm-vet", tmp_path)
    assert [item.task for item in items] == ["ocr,math", "rec", "rec,know,gen", "ocr,math"]
    found = numbers(judged("mm-vet", items, ["a", "b", "c", "d"], Scripted("0.5", "1.0", "0.2 .", "0.9")))
    assert found["score"] == pytest.approx(65)
    assert (found["ocr"], found["rec"], found["know"]) == pytest.approx((70, 60, 20))
    assert (found["score (rec)"], found["readable"]) == (100, 100)


def test_errors_silence_and_unreadable_grades_count_nothing(tmp_path):
    official("mm-vet").write(tmp_path / "mm-vet")
    items = items_of("mm-vet", tmp_path)
    judge = Scripted("1.0", "seven")
    found = numbers(judged("mm-vet", items, ["lost", "", "c", "d"], judge, errors=["unreadable picture"]))
    assert len(judge.asked) == 2
    assert (found["score"], found["gen"], found["math"], found["readable"]) == (25, 100, 0, 50)


def test_the_authors_mm_vet_is_an_object_of_questions(tmp_path):
    folder = tmp_path / "mm-vet"
    save_picture(folder / "images" / "v1_0.png", 0, 90, 70)
    row = {"imagename": "v1_0.png", "question": "What is x?", "answer": "-1<AND>-5", "capability": ["math", "ocr"]}
    (folder / "mm-vet.json").write_text(json.dumps({"v1_0": row}))
    (item,) = items_of("mm-vet", tmp_path)
    assert (item.task, item.size, texts(item)) == ("ocr,math", (90, 70), ["-1<AND>-5"])
    (folder / "mm-vet.json").write_text(json.dumps({"v1_0": {**row, "capability": ["smell"]}}))
    with pytest.raises(DataError, match=r"unknown ability in \['smell'\]"):
        items_of("mm-vet", tmp_path)


def test_mm_vet_as_a_table_and_without_its_column(tmp_path):
    row = {"index": 0, "image": base64_picture(1, 61, 40), "question": "What?", "answer": "A", "category": "know,rec"}
    tsv(tmp_path / "mm-vet" / "MMVet.tsv", [row])
    (item,) = items_of("mm-vet", tmp_path)
    assert (item.task, item.size) == ("rec,know", (61, 40))
    parquet(tmp_path / "mm-vet" / "data" / "test-0.parquet", [{"question_id": "v1_0", "image": cell(1), "answer": "A"}])
    with pytest.raises(DataError, match="no column question, capability"):
        items_of("mm-vet", tmp_path)
