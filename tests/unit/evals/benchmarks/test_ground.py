"""Referring and grounding benchmarks: what is asked, sub-scores, other releases, rows that cannot be used."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from mm15.base.errors import DataError
from mm15.base.types import Box
from mm15.evals.benchmark import find
from mm15.evals.items import Item, boxes, check_item, prompt_text
from mm15.evals.scoring import f1_of_shares, ferret_bench_answer, listing_f1, named_boxes
from mm15.evals.table import Table
from official._refcoco import LEFT, write_split
from official_fixture import cell, official, parquet, save_picture


def read(name: str, root: Path, **options: object) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial=True, options=options))


def total(name: str, answers: list[str], items: list[Item]) -> dict[str, float]:
    benchmark = find(name)
    table = Table(benchmark.score_all(answers, items), [item.task for item in items])
    return {metric: float(values[0]) for metric, values in benchmark.combine(table).items()}


# ---- RefCOCO ----


def test_refcoco_asks_one_question_per_expression_and_keeps_splits_apart(tmp_path):
    official("refcoco").write(tmp_path / "refcoco")
    items = read("refcoco", tmp_path)
    assert [item.task for item in items] == ["testA"] * 3 + ["testB"] * 2
    assert [item.key for item in items][:3] == ["refcoco/testA/0.0", "refcoco/testA/0.1", "refcoco/testA/1.0"]
    assert prompt_text(items[1].sample) == "<image>\nWhat is the location of man in red in the image?"
    assert boxes(items[1]) == [Box(10, 5, 50, 35)] and items[1].size == (100, 50)
    assert items[0].group == items[1].group == "COCO_train2014_000000000000" != items[2].group


def test_val_stands_beside_the_mean_of_the_test_splits(tmp_path):
    folder = tmp_path / "refcoco"
    official("refcoco").write(folder)
    write_split(folder, "val", [(LEFT, ["a", "b", "c"])])
    items = read("refcoco", tmp_path, splits=("val", "testA", "testB"))
    right = ["[100, 100, 500, 700]" if item.task == "val" else "" for item in items]
    assert total("refcoco", right, items)["acc_iou50"] == 0.0
    assert total("refcoco", right[:3], items[:3])["acc_iou50"] == 100.0


def refer_files(folder: Path, refs: str) -> None:
    """The layout of REFER: two expressions of one object on testA, one on testB."""
    for number in (1, 2):
        save_picture(folder / "train2014" / f"COCO_train2014_{number:012}.jpg", number, 100, 50)
    instances = {
        "images": [{"id": n, "file_name": f"COCO_train2014_{n:012}.jpg", "width": 100, "height": 50} for n in (1, 2)],
        "annotations": [{"id": 7, "image_id": 1, "bbox": [10, 5, 40, 30]}, {"id": 8, "image_id": 2, "bbox": LEFT}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    said = [
        {"ref_id": 1, "ann_id": 7, "image_id": 1, "split": "testA", "file_name": "COCO_train2014_000000000001_7.jpg",
         "sentences": [{"sent": "the man", "sent_id": 1}, {"sent": "man , left", "sent_id": 2}]},
        {"ref_id": 2, "ann_id": 8, "image_id": 2, "split": "testB", "file_name": "COCO_train2014_000000000002_8.jpg",
         "sentences": [{"sent": "the cup", "sent_id": 3}]},
        {"ref_id": 3, "ann_id": 8, "image_id": 2, "split": "train", "sentences": [{"sent": "x", "sent_id": 4}]},
    ]  # fmt: skip
    (folder / refs).write_bytes(pickle.dumps(said, protocol=2))


def test_the_pickle_of_refer_gives_the_same_questions(tmp_path):
    refer_files(tmp_path / "refcoco", "refs(unc).p")
    items = read("refcoco", tmp_path)
    assert [(item.task, boxes(item)) for item in items] == [
        ("testA", [Box(10, 5, 50, 35)]), ("testA", [Box(10, 5, 50, 35)]), ("testB", [Box(10, 5, 50, 35)])
    ]  # fmt: skip
    assert "location of man left in the image" in prompt_text(items[1].sample)
    assert total("refcoco", ["[100, 100, 500, 700]", "", ""], items)["acc_iou50"] == 25.0
    with pytest.raises(DataError, match=r"2 rows where the official .*5657(.|\n)*1 rows where the official .*5095"):
        find("refcoco").read(find("refcoco").open(tmp_path))


def test_a_pickle_that_does_something_is_not_loaded(tmp_path):
    refer_files(tmp_path / "refcoco", "refs(unc).p")
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match="not a pickle of plain values only"):
        read("refcoco", tmp_path)


def test_a_split_or_a_picture_that_is_not_there_is_named(tmp_path):
    refer_files(tmp_path / "refcocog", "refs(umd).p")
    with pytest.raises(DataError, match="no split 'test'; splits: testA, testB, train"):
        read("refcocog", tmp_path)
    refer_files(tmp_path / "refcoco", "refs(unc).p")
    (tmp_path / "refcoco" / "train2014" / "COCO_train2014_000000000002.jpg").unlink()
    with pytest.raises(DataError, match=r"no picture .*000000000002\.jpg"):
        read("refcoco", tmp_path)
    with pytest.raises(DataError, match=r"no refs\(unc\).p or finetune_refcoco\+_testA.json"):
        read("refcoco-plus", tmp_path)


def test_mdetr_files_of_ferret_are_read_by_split(tmp_path):
    folder = tmp_path / "refcocog" / "OpenSource"
    folder.mkdir(parents=True)
    save_picture(tmp_path / "refcocog" / "train2014" / "COCO_train2014_000000000005.jpg", 5, 100, 50)
    image = {"file_name": "COCO_train2014_000000000005.jpg", "width": 100, "height": 50, "dataset_name": "refcocog"}
    told = {
        "images": [{**image, "id": n, "original_id": 5, "caption": f"thing {n}"} for n in (0, 1)],
        "annotations": [{"id": n, "image_id": n, "bbox": [10, 5, 40, 30]} for n in (0, 1)],
        "categories": [],
    }
    (folder / "finetune_refcocog_test.json").write_text(json.dumps(told), encoding="utf-8")
    items = read("refcocog", tmp_path)
    assert [prompt_text(item.sample).split("\n")[1] for item in items] == [
        f"What is the location of thing {n} in the image?" for n in (0, 1)
    ]
    assert {item.group for item in items} == {"COCO_train2014_000000000005"}


def test_objects_without_expressions_or_area_are_named(tmp_path):
    for split, row in (("testA", (LEFT, [])), ("testB", ([10, 5, 0, 30], ["a cup"]))):
        write_split(tmp_path / "refcoco", split, [row, (LEFT, ["fine"])])
    with pytest.raises(DataError, match=r"expected expressions, found \[\](.|\n)*has no area"):
        read("refcoco", tmp_path)


# ---- Flickr30k Entities ----


def test_flickr_asks_for_the_phrases_with_boxes_only(tmp_path):
    official("flickr30k").write(tmp_path / "flickr30k")
    items = read("flickr30k", tmp_path)
    assert [prompt_text(item.sample).split("\n")[1] for item in items] == [
        "What are the locations of a young girl, two dogs?",
        "What are the locations of the child?",
        "What are the locations of a man?",
        "What are the locations of a man?",
    ]
    assert boxes(items[0]) == [Box(9, 6, 45, 36), Box(9, 6, 63, 48)], "several boxes are merged to one"
    assert [item.group for item in items[1:3]] == ["flickr30k-images/11.jpg", "flickr30k-images/12.jpg"]


def test_recall_counts_phrases_and_not_captions(tmp_path):
    official("flickr30k").write(tmp_path / "flickr30k")
    items = read("flickr30k", tmp_path)
    answers = ["two dogs [100, 100, 700, 800], a young girl [0, 0, 10, 10]", "child [100, 100, 500, 600]", "", ""]
    assert total("flickr30k", answers, items) == pytest.approx({"recall_at_1": 20.0, "unparseable": 50.0})


def test_phrases_that_read_the_same_share_the_target_of_the_first(tmp_path):
    folder = tmp_path / "flickr30k"
    official("flickr30k").write(folder)
    said = "[/EN#1/people A young girl] meets [/EN#2/people a young girl] ."
    (folder / "Sentences" / "11.txt").write_text(f"{said}\n", encoding="utf-8")
    item = read("flickr30k", tmp_path)[0]
    assert boxes(item) == [Box(9, 6, 45, 36)] * 2
    assert find("flickr30k").score("a young girl [100, 100, 500, 600]", item)["found"] == 2.0


@pytest.mark.parametrize(
    "answer, names",
    [
        ("a man [1, 2, 3, 4], a dog [5, 6, 7, 8]", ["a man", "a dog"]),
        ("a man [1, 2, 3, 4] with hat, a dog [5, 6, 7, 8].", ["a man", "a dog"]),
        ("red , white shirt [1, 2, 3, 4]", ["red , white shirt"]),
        ("a man [1, 2, 3], a dog [5, 6, 7, 8]", ["a dog"]),
        ("a man [1, 2], a dog [5, 6, 7, 8]", ["a dog"]),
        ("men [1, 2, 3, 4], [5, 6, 7, 8]", ["men", ""]),
        ("no box", []),
    ],
)
def test_names_before_boxes(answer: str, names: list[str]):
    assert [name for name, _ in named_boxes(answer, 1000, 500)] == names


def test_a_box_in_an_answer_is_in_pixels():
    assert named_boxes("dog [100, 200, 500, 600]", 200, 100) == [("dog", Box(20, 20, 100, 60))]


# ---- LVIS-Ref ----


def test_lvis_names_the_right_thing_first_in_even_rows(tmp_path):
    official("lvis-ref-box").write(tmp_path / "lvis-ref-box")
    items = read("lvis-ref-box", tmp_path)
    assert [prompt_text(item.sample).split("\n")[1] for item in items[:3]] == [
        "Is the object [100, 200, 500, 600] of the image a cat or a dog?",
        "Is the object [100, 200, 500, 600] of the image a cat or a dog?",
        "Is the object [100, 200, 500, 600] of the image a cat or a stop_sign?",
    ]
    assert items[3].references == ("teapot", "tea pot", "pot", "for tea")
    assert items[0].group == items[1].group != items[2].group


def test_lvis_by_point_and_the_stricter_rule(tmp_path):
    official("lvis-ref-point").write(tmp_path / "lvis-ref-point")
    items = read("lvis-ref-point", tmp_path)
    assert prompt_text(items[1].sample).split("\n")[1].startswith("Is the object [262, 250] of the image")
    assert total("lvis-ref-point", ["a cathedral"] * 4, items) == {"ferret_compat": 50.0, "words": 0.0}
    assert total("lvis-ref-point", ["A Cat."] * 4, items) == {"ferret_compat": 0.0, "words": 50.0}


@pytest.mark.parametrize(
    "field, value, told",
    [
        ("name", "", "'name' and 'neg_class' must be texts"),
        ("bbox_norm", [0.1, 0.2, 0.5], "'bbox_norm' must be four numbers"),
        ("bbox_norm", [1.1, 0.2, 1.5, 0.6], "outside the picture"),
        ("width", 90, "annotated at 90 x 40"),
        ("image_path", "x/absent.jpg", "no picture"),
    ],
)
def test_lvis_rows_that_cannot_be_used(tmp_path, field: str, value: object, told: str):
    folder = tmp_path / "lvis-ref-box"
    official("lvis-ref-box").write(folder)
    rows = [json.loads(line) for line in (folder / "lvis_eval.jsonl").read_text().splitlines()]
    rows[2][field] = value
    (folder / "lvis_eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=told):
        read("lvis-ref-box", tmp_path)


# ---- Ferret-Bench ----


def test_ferret_bench_asks_with_boxes_and_shows_the_judge_what_the_script_shows(tmp_path):
    official("ferret-bench").write(tmp_path / "ferret-bench")
    benchmark = find("ferret-bench")
    items = read("ferret-bench", tmp_path)
    by_task = {item.task: item for item in items if item.key.endswith("/0")}
    assert prompt_text(by_task["refer_desc"].sample) == "<image>\nWhat is the object [100, 200, 500, 600] and why?"
    assert benchmark.judge_prompts
    ((system, told),) = benchmark.judge_prompts("A dog [100, 200, 500, 600] sits.", by_task["refer_desc"])
    assert system["role"] == "system"
    assert told["content"] == (
        "[Context]\nObjects:\nObject 0 : dog at [0.100, 0.200, 0.500, 0.600].\n\n"
        "[Question]\nWhat is the object [0.100, 0.200, 0.500, 0.600] and why?\n\n"
        "[Assistant 1]\nA dog [0.100, 0.200, 0.500, 0.600] runs.\n\n[End of Assistant 1]\n\n"
        "[Assistant 2]\nA dog sits.\n\n[End of Assistant 2]\n\n[System]\nRate refer_desc.\n\n"
    )


def test_ferret_bench_is_a_ratio_of_means(tmp_path):
    official("ferret-bench").write(tmp_path / "ferret-bench")
    benchmark, items = find("ferret-bench"), read("ferret-bench", tmp_path)
    replies = {
        "refer_desc": ["8 4\nwell", "4, 2"],
        "refer_reason": ["10 10", "no idea"],
        "ground_conv": ["10 5", "10 9"],
    }
    values = [
        benchmark.score("" if item.key == "ferret-bench/ground_conv/1" else "an answer", item,
                        [replies[item.task][int(item.key[-1])]])
        for item in items
    ]  # fmt: skip
    told = benchmark.combine(Table(values, [item.task for item in items]))
    assert {name: float(value[0]) for name, value in told.items()} == pytest.approx(
        {
            "relative_score": 100 * (4 + 2 + 10 + 5 + 0) / (8 + 4 + 10 + 10 + 10),
            "relative_score (refer_desc)": 50.0,
            "relative_score (refer_reason)": 100.0,
            "relative_score (ground_conv)": 25.0,
            "mean_of_categories": 175 / 3,
            "unreadable": 100 / 6,
        }
    )
    assert benchmark.score("", items[0], []) == {"model": 0.0, "unreadable": 0.0}, "an answer with an error"
    nothing = benchmark.combine(Table([{"unreadable": 1.0}], ["refer_desc"]))
    assert {name: float(value[0]) for name, value in nothing.items()} == {"relative_score": 0.0, "unreadable": 100.0}


@pytest.mark.parametrize(
    "answer, category, shown",
    [
        ("A man [201, 2, 940, 758] runs.", "ground_conv", "A man [0.201, 0.002, 0.940, 0.758] runs."),
        ("A man [201, 2] runs [x].", "ground_conv", "A man  runs ."),
        ("A man [201, 2, 940, 758] runs.", "refer_desc", "A man runs."),
        ("[1, 2, 3, 4] A man", "refer_reason", " A man"),
        ("", "ground_conv", ""),
    ],
)
def test_answers_as_the_judge_sees_them(answer: str, category: str, shown: str):
    assert ferret_bench_answer(answer, category) == shown


def test_ferret_bench_from_parquet_and_what_it_needs(tmp_path):
    folder = tmp_path / "ferret-bench"
    row = {"question_id": "3", "question": "Who is at [0.100, 0.200, 0.500, 0.600]?", "image": cell(1, 100, 60),
           "image_name": "1.jpg", "category": "refer_reason", "context": "Objects", "gpt_answer": "A man."}  # fmt: skip
    parquet(folder / "data" / "test-00000-of-00001.parquet", [row])
    with pytest.raises(DataError, match=r"no .*rule\.json"):
        read("ferret-bench", tmp_path)
    rules = {name: {"role": "Assistant", "prompt": "Rate."} for name in ("refer_desc", "refer_reason", "ground_conv")}
    (folder / "rule.json").write_text(json.dumps(rules), encoding="utf-8")
    (item,) = read("ferret-bench", tmp_path)
    assert (item.key, item.references) == ("ferret-bench/refer_reason/3", ("A man.",))
    assert prompt_text(item.sample) == "<image>\nWho is at [100, 200, 500, 600]?"
    parquet(folder / "data" / "test-00000-of-00001.parquet", [{**row, "question": "Who is at [0.1, 0.2]?"}])
    with pytest.raises(DataError, match="is no box of four numbers"):
        read("ferret-bench", tmp_path)
    (folder / "rule.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="must give 'prompt' and 'role'"):
        read("ferret-bench", tmp_path)


def test_a_question_without_its_reference_answer_is_named(tmp_path):
    folder = tmp_path / "ferret-bench"
    official("ferret-bench").write(folder)
    (folder / "refer_reason" / "answer.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"answer.jsonl has no row for refer_reason 0 with picture 10.jpg"):
        read("ferret-bench", tmp_path)


# ---- scores ----


def test_listing_f1_takes_each_reference_once():
    right = [("button", (0, 0, 10, 10)), ("slider", (20, 0, 30, 10))]
    assert listing_f1(right, right) == 1.0
    assert listing_f1([("Button", (0, 0, 10, 10))] * 2, right) == 0.5
    assert listing_f1([("slider", (0, 0, 10, 10))], right) == 0.0
    assert listing_f1([], right) == listing_f1(right, []) == 0.0


def test_f1_of_shares():
    right, wrong, missed = (np.array(values) for values in ([0.3, 0.0, 0.2], [0.1, 0.0, 0.0], [0.1, 0.0, 0.0]))
    assert f1_of_shares(right, wrong, missed).tolist() == pytest.approx([0.75, 0.0, 1.0])


def test_a_caption_that_no_phrase_names_scores_nothing():
    item = check_item([Box(80, 120, 400, 360)], phrases=("a dog",))
    assert find("flickr30k").score("[100, 200, 500, 600]", item) == {
        "share_of_caption": 0.0, "found": 0.0, "phrases": 1.0, "unparseable": 0.0
    }  # fmt: skip
