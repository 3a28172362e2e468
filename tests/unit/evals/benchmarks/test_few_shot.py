"""Few-shot prompts word for word, their demonstrations, and the numbers at every number of shots."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mm15.base.errors import ConfigError, DataError
from mm15.base.types import ImagePart, Role
from mm15.evals.benchmark import find
from mm15.evals.items import Item, prompt_text
from mm15.evals.predictions import Prediction
from mm15.evals.request import Request
from mm15.evals.results import reported, summary
from mm15.evals.scoring import few_shot_caption
from mm15.images.split import SplitPolicy
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from official._shared import DEMONSTRATIONS, captions, json_file, jsonl, toolkit
from official_fixture import cell, official, parquet, save_picture

NAMES = ["coco-caption", "nocaps", "textcaps", "vqav2", "textvqa-few-shot", "vizwiz", "okvqa"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for name in NAMES:
        official(name).write(folder / name)
    return folder


def read(name: str, folder: Path, **options) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(folder, partial=True, options=options))


def at(items: list[Item], task: str) -> list[Item]:
    return [item for item in items if item.task == task]


def test_captions_word_for_word(root):
    items = read("coco-caption", root, shots=[0, 4])
    assert [item.task for item in items] == ["4-shot", "0-shot"] * 4
    assert [item.key for item in items[:2]] == ["coco-caption/0/4-shot", "coco-caption/0/0-shot"]
    assert prompt_text(at(items, "0-shot")[1].sample) == "<image> A photo of"
    lines = prompt_text(at(items, "4-shot")[1].sample).split("\n")
    known = {f"<image> A photo of {captions(n)[0]}" for n in range(4, 4 + DEMONSTRATIONS)}
    assert len(lines) == 5 and len(set(lines[:4])) == 4 and set(lines[:4]) < known and lines[4] == "<image> A photo of"
    assert items[0].sample.messages[0].role is Role.DOCUMENT and len(items[0].sample.messages) == 1


def test_questions_word_for_word(root):
    items = read("okvqa", root, shots=[0, 4])
    assert prompt_text(at(items, "0-shot")[2].sample) == "<image> Question: What is number 2? Short answer:"
    lines = prompt_text(at(items, "4-shot")[2].sample).split("\n")
    assert all(line.startswith("<image> Question: What is number ") for line in lines)
    assert [line.endswith("? Short answer: red") for line in lines] == [True] * 4 + [False]


def test_openflamingo_style(root):
    items = read("okvqa", root, shots=[0, 4], style="openflamingo")
    lines = prompt_text(at(items, "0-shot")[0].sample).split("\n")
    assert [line.startswith("<image>") for line in lines] == [False, False, True], "two demonstrations are text only"
    assert lines[0].startswith("Question:What is number ") and lines[0].endswith("? Short answer:red")
    assert lines[2] == "<image>Question:What is number 0? Short answer:"
    (last, *_) = reversed(prompt_text(at(items, "4-shot")[0].sample).split("\n"))
    assert last == lines[2]
    caption = read("coco-caption", root, shots=[4], style="openflamingo")[0]
    assert prompt_text(caption.sample).endswith("\n<image>Output:")
    assert few_shot_caption('a "red" bus\nagain Output: b', "openflamingo") == "a red bus\nagain"
    assert few_shot_caption("\n a red bus\nA photo", "mm1") == "a red bus"
    with pytest.raises(ValueError, match="'mm1' or 'openflamingo', found 'x'"):
        few_shot_caption("a", "x")


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_are_from_the_training_split_and_the_same_every_time(name: str, root):
    items = read(name, root)
    again = read(name, root, shots=[0, 4, 8, 16])
    shown = {item.key: [image.media for image in item.sample.images] for item in items}
    asked = {shown[item.key][0] for item in at(items, "0-shot")}
    for item in at(items, "8-shot"):
        eight, four = shown[item.key], shown[item.key.replace("8-shot", "4-shot")]
        assert (len(eight), len(four)) == (9, 5)
        assert four == [*eight[:4], eight[-1]] and eight[-1] in asked and not asked & set(eight[:-1])
    for item in again:
        if item.key in shown:
            assert [image.media for image in item.sample.images] == shown[item.key], "16 shots change no other prompt"
    other = [[image.media for image in item.sample.images] for item in read(name, root, seed=1)]
    assert other != [shown[item.key] for item in items]
    assert len({tuple(map(str, shown[item.key][:-1])) for item in at(items, "8-shot")}) > 1, "each draws its own"


def test_numbers_at_every_number_of_shots(root):
    benchmark, items = find("vqav2"), read("vqav2", root)
    says = {"0-shot": "two", "4-shot": "yes", "8-shot": "yes\nQuestion: is it?"}
    answers = [says[item.task] if item.task != "8-shot" or n < 6 else "" for n, item in enumerate(items)]
    found = {s.metric: (s.value, s.n) for s in reported(benchmark, benchmark.score_all(answers, items), items)}
    assert found == {
        "vqa_accuracy": (pytest.approx(40.0), 4),
        "vqa_accuracy_8shot": (pytest.approx(40.0), 4),
        "vqa_accuracy_4shot": (pytest.approx(40.0), 4),
        "vqa_accuracy_0shot": (0.0, 4),
    }, "'two' is not '2' where all ten say 2: the toolkit compares to the letter there"
    benchmark, items = find("coco-caption"), read("coco-caption", root)
    answers = [captions(n // 3)[0] if n % 3 == 0 or n == 1 else "" for n in range(12)]
    found = {s.metric: (s.value, s.n) for s in reported(benchmark, benchmark.score_all(answers, items), items)}
    assert {metric: value for metric, value in found.items() if metric.startswith("cider")} == {
        "cider": (pytest.approx(500.0), 4),
        "cider_8shot": (pytest.approx(500.0), 4),
        "cider_4shot": (pytest.approx(125.0), 4),
        "cider_0shot": (0.0, 4),
    }
    assert found["token_f1"] == (pytest.approx(100.0), 4)
    one = benchmark.score_all([captions(0)[0]], items[:1])
    assert reported(benchmark, one, items[:1])[0].value == 0.0, "one picture alone has no CIDEr"


def test_a_limit_keeps_whole_prompts_with_the_primary_number(root):
    items = Request(str(root), ("okvqa",), partial=True, limit=4).read()["okvqa"]
    assert [item.task for item in items] == ["8-shot", "4-shot", "0-shot", "8-shot"]
    assert {item.group for item in items} == {"10"}, "questions of one picture, at all shots, are drawn together"


def test_mixed_resolution_splits_the_last_pictures_only(root):
    policy = SplitPolicy(tile=16, max_split_images=2)
    tokenizer = train_tokenizer(["Question: Short answer: A photo of"], SPECIALS)
    processor = Processor(ProcessorConfig(split=policy, tokens_per_tile=4, max_tokens=5000), tokenizer)
    plain, mixed = (
        at(read("coco-caption", root, shots=[4], **more), "4-shot")[0].sample for more in ({}, {"mixed_resolution": 2})
    )
    assert [image.split for image in mixed.images] == [False] * 3 + [True] * 2
    assert processor.count(plain, answering=True).tiles == 5
    encoded = processor.encode(mixed, answering=True)
    assert encoded.num_tiles == 3 + 2 * (6 + 1), "48 x 32 px are 3 x 2 tiles of 16 and the overview"
    assert processor.count(mixed, answering=True) == (encoded.num_tokens, encoded.num_tiles)


def test_reasons_come_from_a_file_of_the_users(root, tmp_path):
    toolkit(tmp_path / "okvqa", "", "val2014", [["red"] * 10] * 4)
    with pytest.raises(DataError, match=r"no rationales\.jsonl in .*okvqa"):
        read("okvqa", tmp_path, chain_of_thought=True)
    save_picture(tmp_path / "okvqa" / "a.png", 1, 40, 20)
    row = {"image": "a.png", "question": "What color?", "rationale": "It is a\nfire truck.", "answer": "red"}
    jsonl(tmp_path / "okvqa" / "rationales.jsonl", [row] * 16)
    items = read("okvqa", tmp_path, chain_of_thought=True, shots=[4])
    lines = prompt_text(items[0].sample).split("\n")
    assert lines[0] == "<image> Question: What color? Reasoning: It is a fire truck. Short answer: red"
    assert lines[-1] == "<image> Question: What is number 0? Reasoning:"
    assert items[0].max_new_tokens == 256
    benchmark = find("okvqa")
    assert benchmark.score("Tomatoes are so. Short answer: red\nQuestion", items[0])["vqa_accuracy"] == 1.0
    assert benchmark.score("red", items[0])["vqa_accuracy"] == 0.0, "the form was not kept: nothing can be read"
    with pytest.raises(ConfigError, match="chain_of_thought"):
        read("coco-caption", root, chain_of_thought=True)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_training_split_it_stops_with_what_is_needed(name: str, root, tmp_path):
    official(name).write(tmp_path / name)
    for file in [*tmp_path.rglob("*train*.json"), *tmp_path.rglob("train*.parquet")]:
        file.unlink()
    karpathy = tmp_path / "coco-caption" / "dataset_coco.json"
    if karpathy.exists():
        text = karpathy.read_text().replace('"split": "train"', '"split": "val"')
        karpathy.write_text(text)
    with pytest.raises(DataError, match=rf"{name}: demonstrations are drawn .* none with --set {name}\.shots=\[0\]"):
        read(name, tmp_path)
    assert {item.task for item in read(name, tmp_path, shots=[0])} == {"0-shot"}


def test_test_dev_is_handed_in_once_per_number_of_shots(root, tmp_path):
    toolkit(tmp_path / "vqav2", "v2_", "train2014", [["no"] * 10] * 16)
    rows = [{"question_id": 70 + n, "image_id": n, "question": "is it?"} for n in range(4)]
    for n in range(4):
        save_picture(tmp_path / "vqav2" / "test2015" / f"COCO_test2015_{n:012d}.jpg", n, 40, 20)
    file = tmp_path / "vqav2" / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    json_file(file, {"info": {}, "questions": rows})
    items = read("vqav2", tmp_path, split="testdev", shots=[0, 4])
    assert not any(item.references for item in items)
    assert prompt_text(at(items, "4-shot")[0].sample).endswith(
        "Short answer: no\n<image> Question: is it? Short answer:"
    )
    kept = [Prediction(item.key, "", "", f"{item.task}. Question", (), 9, "stop") for item in items]
    report = summary({"vqav2": kept}, {"vqav2": items}, "few-shot")
    assert report.scores == []
    assert report.submissions["vqav2"] == {
        f"vqav2-testdev-{task}.json": [{"question_id": 70 + n, "answer": task} for n in range(4)]
        for task in ("4-shot", "0-shot")
    }


def test_the_other_shapes_of_the_files(root, tmp_path):
    nocaps = tmp_path / "nocaps"
    for n in range(2):
        save_picture(nocaps / "val" / f"{n}.jpg", n, 40, 20)
    images = [{"id": n, "file_name": f"{n}.jpg", "domain": "in-domain"} for n in range(2)]
    said = [{"image_id": n // 2, "id": n, "caption": f"c{n}"} for n in range(4)]
    json_file(nocaps / "nocaps_val_4500_captions.json", {"info": {}, "images": images, "annotations": said})
    assert [item.references for item in read("nocaps", tmp_path, shots=[0])] == [("c0", "c1"), ("c2", "c3")]
    textcaps = tmp_path / "textcaps"
    save_picture(textcaps / "train_images" / "a.jpg", 1, 40, 20)
    rows = [{"image_id": "a", "caption_str": f"c{n}", "reference_strs": ["c0", "c1"], "caption_id": n} for n in (0, 1)]
    json_file(textcaps / "TextCaps_0.1_val.json", {"dataset_name": "textcaps", "data": rows})
    assert [item.references for item in read("textcaps", tmp_path, shots=[0])] == [("c0", "c1")], "once per picture"
    save_picture(tmp_path / "vizwiz" / "val" / "v.jpg", 1, 40, 20)
    answers = [{"answer": "a", "answer_confidence": "yes"}] * 10
    json_file(tmp_path / "vizwiz" / "val.json", [{"image": "v.jpg", "question": "what?", "answers": answers}])
    assert read("vizwiz", tmp_path, shots=[0])[0].references == ("a",) * 10
    row = {"question_id": "5", "image": cell(1, 40, 20), "question": "what?", "answers": ["a"] * 10}
    parquet(tmp_path / "okvqa" / "data" / "val2014-00000.parquet", [row])
    assert read("okvqa", tmp_path, shots=[0])[0].references == ("a",) * 10


def test_strange_rows_are_named(tmp_path):
    toolkit(tmp_path / "okvqa", "", "val2014", [["red"] * 10] * 4)
    json_file(
        tmp_path / "okvqa" / "mscoco_val2014_annotations.json",
        {"annotations": [{"question_id": 1000, "answers": ["a"]}]},
    )
    with pytest.raises(DataError, match="row 1: question 1001 has no answers in the annotations"):
        read("okvqa", tmp_path, shots=[0])
    (tmp_path / "okvqa" / "mscoco_val2014_annotations.json").unlink()
    with pytest.raises(DataError, match=r"no such file: .*mscoco_val2014_annotations\.json"):
        read("okvqa", tmp_path, shots=[0])
    image = {"filepath": "val2014", "filename": "a.jpg", "split": "test", "sentences": [], "cocoid": 1}
    json_file(tmp_path / "coco-caption" / "dataset_coco.json", {"images": [image], "dataset": "coco"})
    with pytest.raises(DataError, match=r"row 0: expected a list of captions, found '\[\]'"):
        read("coco-caption", tmp_path, shots=[0])
    with pytest.raises(ConfigError, match="shots"):
        read("coco-caption", tmp_path, shots=[3])


def test_drawn_rows_are_checked_as_questions_are(root, tmp_path):
    official("textvqa-few-shot").write(tmp_path / "textvqa-few-shot")
    train = tmp_path / "textvqa-few-shot" / "data" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(train).drop_columns(["answers"]), train)
    with pytest.raises(DataError, match=r"1 problems in .*train-00000.*\n.*no column answers; found image_id"):
        read("textvqa-few-shot", tmp_path)
    toolkit(tmp_path / "okvqa", "", "val2014", [["red"] * 10] * 4)
    toolkit(tmp_path / "okvqa", "", "train2014", [["red"] * 10] * 18)
    (tmp_path / "okvqa" / "train2014" / "COCO_train2014_000000000012.jpg").unlink()
    with pytest.raises(DataError, match=r"no picture .*train2014/COCO_train2014_000000000012\.jpg"):
        read("okvqa", tmp_path)
    toolkit(tmp_path / "okvqa", "", "train2014", [["red"] * 10] * 7)
    with pytest.raises(DataError, match="okvqa: 7 rows to draw 8 demonstrations from"):
        read("okvqa", tmp_path)


def test_pictures_are_the_only_parts_that_stay_whole(root):
    sample = read("okvqa", root, shots=[8], mixed_resolution=1)[0].sample
    images = [part for part in sample.messages[0].parts if isinstance(part, ImagePart)]
    assert [image.split for image in images] == [False] * 8 + [True]
