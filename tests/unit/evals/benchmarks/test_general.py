"""General benchmarks: prompts, sub-scores, the other shapes of their files, strange rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm15.base.errors import DataError
from mm15.evals.benchmark import find
from mm15.evals.benchmarks import mme, pope
from mm15.evals.items import Item, prompt_text, texts
from mm15.evals.table import Table, draw_weights
from mm15.io.media import read_bytes
from official_fixture import base64_picture, cell, official, parquet, save_picture, tsv

WORD = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."


def items_of(name: str, root: Path, partial: bool = True) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial))


def reported(name: str, answers: Sequence[str], items: Sequence[Item]) -> dict[str, float]:
    benchmark = find(name)
    table = Table(benchmark.score_all(answers, items), [item.task for item in items])
    return {metric: float(values[0]) for metric, values in benchmark.combine(table).items()}


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("mme", f"<image>\nIs it Yes here?{WORD}"),
        ("pope", f"<image>\nIs there a thing 0 in the image?{WORD}"),
        ("seed-image", f"<image>\nWhat color is thing 0?\nA. red\nB. blue\nC. green\nD. none of 0{LETTER}"),
        (
            "realworldqa",
            "<image>\nWhere do we go?\n\nA. Left.\nB. Right.\nC. Ahead.\nPlease answer directly with only the letter "
            "of the correct option and nothing else.",
        ),
    ],
)
def test_the_prompt_is_the_published_one(name: str, prompt: str, tmp_path):
    official(name).write(tmp_path / name)
    assert prompt_text(items_of(name, tmp_path)[0].sample) == prompt


# ---- MME ----


def test_mme_counts_questions_and_pictures(tmp_path):
    official("mme").write(tmp_path / "mme")
    items = items_of("mme", tmp_path)
    right = {"existence": 2, "count": 1, "code_reasoning": 2}
    asked: dict[str, int] = {}
    answers = []
    for item in items:
        asked[item.task] = asked.get(item.task, 0) + 1
        answers.append(texts(item)[0] if asked[item.task] <= right.get(item.task, 0) else "")
    found = reported("mme", answers, items)
    assert (found["existence"], found["count"], found["position"]) == (200, 50, 0)
    assert (found["perception"], found["cognition"]) == (250, 200)
    assert found["mme"] == pytest.approx(450 / 28)


def test_a_picture_of_mme_with_one_question_gives_no_pair(tmp_path, monkeypatch):
    official("mme").write(tmp_path / "mme")
    items = items_of("mme", tmp_path)[:3]
    values = find("mme").score_all(["Yes", "No", "Yes"], items)
    assert values == [{"accuracy": 1.0, "both": 1.0}] * 2 + [{"accuracy": 1.0}]
    monkeypatch.setattr(mme, "RELEASES", tuple(replace(release, rows=0) for release in mme.RELEASES))
    assert len(items_of("mme", tmp_path, partial=False)) == 28
    row = {"question_id": "a.png", "image": cell(1), "question": "Is it?", "answer": "Yes", "category": "count"}
    parquet(tmp_path / "mme" / "data" / "test-00001-of-00004.parquet", [row])
    with pytest.raises(DataError, match=r"two questions .* not so for 1 of them: count/a.png"):
        items_of("mme", tmp_path, partial=False)
    parquet(tmp_path / "mme" / "data" / "test-00001-of-00004.parquet", [{**row, "category": "sums"}])
    with pytest.raises(DataError, match="unknown sub-task 'sums'"):
        items_of("mme", tmp_path)


def test_mme_as_a_table(tmp_path):
    rows = [
        {
            "index": n,
            "image": base64_picture(0, 50, 40) if n == 0 else "0",
            "question": "Is it red? Please answer yes or no.",
            "answer": answer,
            "category": "color",
            "image_path": "images/0.jpg",
        }
        for n, answer in enumerate(("Yes", "No"))
    ]
    tsv(tmp_path / "mme" / "MME.tsv", rows)
    first, second = items_of("mme", tmp_path)
    assert first.group == second.group == "color/images/0.jpg"
    assert first.sample.images == second.sample.images and second.size == (50, 40)
    assert prompt_text(second.sample) == f"<image>\nIs it red?{WORD}"


# ---- POPE ----


def test_pope_reports_means_over_the_splits(tmp_path):
    official("pope").write(tmp_path / "pope")
    items = items_of("pope", tmp_path)
    assert {item.group for item in items} == {f"COCO_val2014_{picture:012}" for picture in (1, 2)}
    # adversarial: always yes; popular: always right; random: always no.
    given = {"adversarial": lambda _: "yes", "popular": lambda right: right, "random": lambda _: "no"}
    found = reported("pope", [given[item.task](texts(item)[0]) for item in items], items)
    assert found["accuracy"] == pytest.approx((50 + 100 + 50) / 3)
    assert found["f1 (adversarial)"] == pytest.approx(200 / 3)
    assert (found["f1 (popular)"], found["f1 (random)"]) == (100, 0)
    assert found["f1"] == pytest.approx((200 / 3 + 100) / 3)
    assert found["precision"] == pytest.approx((50 + 100 + 0) / 3)
    assert found["recall"] == pytest.approx((100 + 100 + 0) / 3)
    assert found["yes_ratio"] == pytest.approx((100 + 50 + 0) / 3)


def test_silence_in_pope_is_neither_yes_nor_no(tmp_path):
    official("pope").write(tmp_path / "pope")
    items = items_of("pope", tmp_path)
    assert set(reported("pope", [" "] * len(items), items).values()) == {0.0}


def test_a_row_of_the_pope_table_stands_for_all_its_splits(tmp_path):
    row = {"index": 0, "image": base64_picture(1, 60, 40), "question": "Is there a cat?", "answer": "Yes"}
    tsv(tmp_path / "pope" / "POPE.tsv", [{**row, "category": "random,popular"}])
    first, second = items_of("pope", tmp_path)
    assert [(item.task, item.key) for item in (first, second)] == [
        ("random", "pope/random/0"),
        ("popular", "pope/popular/0"),
    ]
    assert texts(first) == ["yes"] and first.group == second.group and first.size == (60, 40)
    tsv(
        tmp_path / "pope" / "POPE.tsv",
        [{**row, "category": "random,hard"}, {**row, "category": "random", "answer": ""}],
    )
    with pytest.raises(DataError, match="2 problems") as error:
        items_of("pope", tmp_path)
    assert "unknown split 'hard'" in str(error.value) and "is '', not yes or no" in str(error.value)


def write_pope(folder: Path, splits: Sequence[str] = pope.SPLITS) -> None:
    for split in splits:
        rows = [
            {"question_id": n, "image": "COCO_val2014_000000000001.jpg", "text": f"Is there a {name}?", "label": label}
            for n, (name, label) in enumerate([("cat", "yes"), ("car", "no")], 1)
        ]
        (folder / f"coco_pope_{split}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_authors_pope_is_json_lines_named_json(tmp_path):
    folder = tmp_path / "pope"
    folder.mkdir()
    write_pope(folder)
    with pytest.raises(DataError, match=r"no picture .*val2014/COCO_val2014_000000000001.jpg"):
        items_of("pope", tmp_path)
    save_picture(folder / "val2014" / "COCO_val2014_000000000001.jpg", 0, 90, 60)
    items = items_of("pope", tmp_path)
    assert [item.task for item in items] == ["adversarial", "adversarial", "popular", "popular", "random", "random"]
    assert [texts(item)[0] for item in items[:2]] == ["yes", "no"] and items[0].size == (90, 60)
    with pytest.raises(DataError, match=r"6 rows where the official coco_pope_adversarial\.json has 9000"):
        items_of("pope", tmp_path, partial=False)
    (folder / "coco_pope_easy.json").write_text((folder / "coco_pope_random.json").read_text())
    with pytest.raises(DataError, match="unknown split 'easy'"):
        items_of("pope", tmp_path)


# ---- SEED-Bench, RealWorldQA ----


def test_questions_about_clips_are_no_part_of_seed_image(tmp_path):
    official("seed-image").write(tmp_path / "seed-image")
    items = items_of("seed-image", tmp_path)
    assert [item.task for item in items] == [
        "Scene Understanding",
        "Instance Identity",
        "Instances Counting",
        "Text Understanding",
    ]
    assert items[0].group == items[1].group != items[2].group


def seed_row(**fields: Any) -> dict[str, Any]:
    choices = {f"choice_{letter}": letter * 3 for letter in "abcd"}
    told = {"question": "Which?", "answer": "C", "data_id": "17_4", "data_type": "image", "question_type_id": 6}
    return {**choices, **told, **fields}


def test_the_authors_seed_bench_names_pictures_by_their_number(tmp_path):
    folder = tmp_path / "seed-image"
    save_picture(folder / "SEED-Bench-image" / "17_4", 0, 70, 44)
    document = {
        "question_type": {"Spatial Relation": 6},
        "questions": [seed_row(), seed_row(data_type="video", question_type_id=11)],
    }
    (folder / "SEED-Bench.json").write_text(json.dumps(document))
    (item,) = items_of("seed-image", tmp_path)
    assert (item.task, item.size, texts(item)) == ("Spatial Relation", (70, 44), ["C"])
    document["questions"] = [seed_row(question_type_id=11), seed_row(answer="E"), seed_row(data_id="absent")]
    (folder / "SEED-Bench.json").write_text(json.dumps(document))
    with pytest.raises(DataError) as error:
        items_of("seed-image", tmp_path)
    for told in ("'question_type_id' 11 is no dimension", "'E' is none of the 4 options", "no picture"):
        assert told in str(error.value)
    document["questions"] = [seed_row(data_type="video")]
    (folder / "SEED-Bench.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="Found data_type: video"):
        items_of("seed-image", tmp_path)


def test_seed_bench_as_a_table_shares_pictures(tmp_path):
    rows = [
        {
            "index": n,
            "image": base64_picture(2, 40, 90) if n == 10 else "10",
            "question": "Where is it?",
            **{"A": "left", "B": "right", "C": "above", "D": "below"},
            "answer": "D",
            "category": "Instance Location",
        }
        for n in (10, 11)
    ]
    tsv(tmp_path / "seed-image" / "SEEDBench_IMG.tsv", rows)
    first, second = items_of("seed-image", tmp_path)
    assert first.group == second.group and second.task == "Instance Location"
    assert prompt_text(first.sample) == f"<image>\nWhere is it?\nA. left\nB. right\nC. above\nD. below{LETTER}"
    assert read_bytes(second.sample.images[0].media) == read_bytes(first.sample.images[0].media)


def test_real_world_questions_by_letter_and_by_word(tmp_path):
    official("realworldqa").write(tmp_path / "realworldqa")
    items = items_of("realworldqa", tmp_path)
    assert [item.task for item in items] == ["options", "options", "open", "open"]
    assert find("realworldqa").score("C. Ahead.", items[1]) == {"accuracy": 1.0}
    rows = [
        {"index": 0, "image": base64_picture(3, 80, 50), "question": "Which?", "A": "bus", "B": "car", "answer": "B"},
        {"index": 1, "image": "0", "question": "How many?", "A": "", "B": "", "answer": "4"},
    ]
    tsv(tmp_path / "table" / "realworldqa" / "RealWorldQA.tsv", rows)
    first, second = items_of("realworldqa", tmp_path / "table")
    assert prompt_text(first.sample) == f"<image>\nWhich?\nA. bus\nB. car{LETTER}"
    assert prompt_text(second.sample) == "<image>\nHow many?" and second.task == "open"
    assert find("realworldqa").score("C", first) == {"accuracy": 0.0}, "not an option of this question"


# ---- what they share ----


def test_a_draw_without_items_of_a_task_gives_nothing(tmp_path):
    table = Table([{"right": 1.0}, {"right": 1.0}], ["a", "b"]).weighed(np.array([[2, 0], [0, 1]], np.float32))
    assert table.mean("right", "a").tolist() == [1.0, 0.0]
    assert draw_weights(["x", "y"], "name", 8).dtype == np.float32


def test_an_object_of_rows_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "mm-vet").mkdir()
    for text, told in [("{", "not valid JSON"), ('{"a": 1}', "an object whose fields are the rows"), ("[]", "fields")]:
        (tmp_path / "mm-vet" / "mm-vet.json").write_text(text)
        with pytest.raises(DataError, match=told):
            items_of("mm-vet", tmp_path)
