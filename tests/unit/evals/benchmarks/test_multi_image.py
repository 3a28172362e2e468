"""Benchmarks of several pictures: prompts, other releases, strange rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mm15.base.errors import DataError
from mm15.base.types import ImagePart, VideoPart
from mm15.evals.benchmark import Benchmark, find
from mm15.evals.items import Item, prompt_text
from mm15.evals.results import reported
from mm15.evals.scoring import extract_choice, true_false
from mm15.io.media import read_bytes
from official._clips import frames, save_json, save_lines
from official_fixture import base64_picture, cell, official, parquet, picture, tsv

HINT = "Answer with the option's letter from the given choices directly."


def items_of(name: str, root: Path) -> tuple[Benchmark, list[Item]]:
    benchmark = find(name)
    return benchmark, benchmark.read(benchmark.open(root, partial=True))


def clip_of(item: Item) -> VideoPart:
    clip = item.sample.messages[0].parts[0]
    assert isinstance(clip, VideoPart)
    return clip


def written(name: str, root: Path) -> list[Item]:
    official(name).write(root / name)
    return items_of(name, root)[1]


def test_qbench2_asks_about_two_pictures_and_leaves_the_pads_out(tmp_path):
    first, second, *_ = written("qbench2", tmp_path)
    asked = "Is the first image clearer than the second?"
    assert prompt_text(first.sample) == f"<image><image>\n{asked}\nA. Yes\nB. No\n{HINT}"
    assert "C. Equal" in prompt_text(second.sample) and "N/A" not in prompt_text(second.sample)
    assert (first.references, first.task, second.task) == (("B",), "global distortion", "global others")
    assert [read_bytes(part.media) for part in first.sample.images] == [picture(0, 60, 40), picture(10, 40, 60)]


def test_qbench2_of_another_split_is_not_taken(tmp_path):
    row = {"id": 0, "image1": cell(), "image2": cell(), "question": "?", "correct_choice": "A"}
    parquet(tmp_path / "qbench2" / "data" / "test-00000-of-00001.parquet", [row])
    with pytest.raises(DataError, match=r"qbench2: no dev\*\.parquet .*test-00000-of-00001\.parquet"):
        items_of("qbench2", tmp_path)


def test_qbench2_right_answer_that_is_no_option(tmp_path):
    pads = {"option0": "Yes", "option1": "No", "option2": "N/A", "option3": "N/A"}
    row = {"id": 0, "image1": cell(), "image2": cell(), "question": "?", **pads, "correct_choice": "C"}
    parquet(tmp_path / "qbench2" / "dev.parquet", [row])
    with pytest.raises(DataError, match="row 0: the right answer 'C' is none of the 2 options"):
        items_of("qbench2", tmp_path)


def test_mantis_prompts(tmp_path):
    marked, plain, count, _ = written("mantis-eval", tmp_path)
    options = "A. the first\nB. the second"
    assert prompt_text(marked.sample) == f"<image> <image> Which has a dog?\n{options}\n{HINT}"
    assert prompt_text(plain.sample) == f"<image><image>\nWhich is brighter?\n{options}\nC. neither\n{HINT}"
    assert prompt_text(count.sample) == (
        "Given the images, answer the following short answer vqa question:\nQ: <image><image> How many cups are there "
        'in all?\nYou can first give your analysis, and then give your final answer as "Final Answer:"'
    )
    assert [item.task for item in (marked, count)] == ["multi-choice", "short-answer"]


def test_mantis_rows_that_cannot_be_asked_are_told_together(tmp_path):
    row = {"id": "a", "question_type": "essay", "question": "<image> <image> <image>?", "images": [cell()]}
    rows = [{**row, "options": [], "answer": "x"}, {**row, "question_type": "multi-choice", "options": ["a"]}]
    rows[1] |= {"id": "b", "answer": "A"}
    parquet(tmp_path / "mantis-eval" / "test.parquet", rows)
    with pytest.raises(DataError) as told:
        items_of("mantis-eval", tmp_path)
    assert "'question_type' is multi-choice or short-answer, found 'essay'" in str(told.value)
    assert "3 <image> in the question and 1 pictures" in str(told.value)


def test_nlvr2_prompt_of_the_authors_file(tmp_path):
    first, second, third, _ = written("nlvr2", tmp_path)
    assert prompt_text(first.sample) == (
        "<image><image>\nHere is a statement about the two images: There are two dogs in all.\n"
        "Is it true or false?\nAnswer the question using a single word or phrase."
    )
    assert [Path(part.media.path).name for part in second.sample.images] == [
        "test1-0-1-img0.png",
        "test1-0-1-img1.png",
    ]
    assert (first.group, second.group, third.group) == ("0", "0", "1")


def test_nlvr2_of_the_dev_set_and_absent_pictures(tmp_path):
    row = {"sentence": "Two dogs.", "label": "True"}
    folder = tmp_path / "nlvr2"
    save_lines(folder / "test1.json", [{**row, "identifier": "dev-0-0-0"}])
    with pytest.raises(DataError, match="identifier 'dev-0-0-0' is none of test-P"):
        items_of("nlvr2", tmp_path)
    save_lines(folder / "test1.json", [{**row, "identifier": "test1-0-0-0"}])
    with pytest.raises(DataError, match=r"no picture .*test1-0-0-img1\.png"):
        items_of("nlvr2", tmp_path)


@pytest.mark.parametrize("options", [["(A) True", "(B) False"], []])
def test_nlvr2_of_the_mantis_release(options, tmp_path):
    row = {"id": "n1", "question_type": "multi-choice", "question": "<image><image> Two dogs?", "options": options}
    row |= {"images": [cell(0), cell(1)], "answer": "(B)" if options else "False"}
    parquet(tmp_path / "nlvr2" / "nlvr2" / "test-00000-of-00002.parquet", [row])
    benchmark, (item,) = items_of("nlvr2", tmp_path)
    told = f"\nA. True\nB. False\n{HINT}" if options else "\nAnswer the question using a single word or phrase."
    assert prompt_text(item.sample) == f"<image><image> Two dogs?{told}"
    assert [benchmark.score(said, item)["accuracy"] for said in ("False", "True", "")] == [1.0, 0.0, 0.0]


def test_nlvr2_of_the_interleave_bench_takes_its_own_rows_and_two_pictures(tmp_path):
    row = {"question": "Two dogs? A. True B. False", "image_0": cell(0), "image_1": cell(1), "image_2": cell(2)}
    rows = [
        {**row, "sample_id": "x", "sub_task": "RAVEN", "answer": "A"},
        {**row, "sample_id": "y", "sub_task": "NLVR2_Mantis", "answer": "B"},
    ]
    parquet(tmp_path / "nlvr2" / "in_domain" / "test-00000-of-00001.parquet", rows)
    benchmark, (item,) = items_of("nlvr2", tmp_path)
    assert item.key == "nlvr2/y" and len(item.sample.images) == 2
    assert [benchmark.score(said, item)["accuracy"] for said in ("B", "A")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("said", "right", "value"),
    [("True", "True", 1), ("It is false.", "False", 1), ("yes", "True", 1), ("no", "True", 0),
     ("yes and no", "False", 0), ("", "False", 0), ("untrue", "True", 0)],
)  # fmt: skip
def test_true_false(said, right, value):
    assert true_false(said, right) == value


def test_blink_reports_the_mean_of_tasks_and_that_of_questions(tmp_path):
    items = written("blink", tmp_path)
    benchmark = find("blink")
    values = [benchmark.score("(A)", item) for item in items]
    scores = {score.metric: score.value for score in reported(benchmark, values, items)}
    assert scores == pytest.approx(
        {"accuracy": 100 / 3, "micro_accuracy": 50, "accuracy (Counting)": 200 / 3, "accuracy (Jigsaw)": 0}
    )
    note = "Note: You only need to respond with A, B without providing any additional information.\n"
    asked = "Which is right?\nSelect from the following choices.\n(A) one\n(B) two"
    assert prompt_text(items[0].sample) == f"<image>\n{note}{asked}"
    assert prompt_text(items[3].sample) == f"<image><image><image>\n{note}{asked}"


def test_blink_table_of_vlmevalkit_holds_lists_of_pictures(tmp_path):
    shown = [base64_picture(seed, 60, 40) for seed in (1, 2)]
    row = {"index": 7, "question": "Which is right?", "A": "one", "B": "two", "answer": "B", "category": "Jigsaw"}
    tsv(tmp_path / "blink" / "BLINK.tsv", [{**row, "image": repr(shown)}, {**row, "index": 8, "image": shown[0]}])
    _, (pair, single) = items_of("blink", tmp_path)
    assert [read_bytes(part.media) for part in pair.sample.images] == [
        picture(1, 60, 40, "JPEG"),
        picture(2, 60, 40, "JPEG"),
    ]
    assert "(A) one\n(B) two" in prompt_text(pair.sample) and (pair.references, pair.task) == (("B",), "Jigsaw")
    assert len(single.sample.images) == 1


def test_a_cell_that_is_no_list_is_told(tmp_path):
    row = {"index": 7, "question": "?", "A": "one", "B": "two", "answer": "B", "category": "Jigsaw", "image": "[broken"}
    tsv(tmp_path / "blink" / "BLINK.tsv", [row])
    with pytest.raises(DataError, match="row 0: not a list"):
        items_of("blink", tmp_path)


def test_muirbench_places_pictures_where_the_text_has_them(tmp_path):
    marked, mixed, *_ = written("muirbench", tmp_path)
    assert prompt_text(marked.sample) == (
        f"<image> and <image>: which is older?\nA. the first\nB. the second\nC. None of the choices\n{HINT}"
    )
    parts = mixed.sample.messages[0].parts
    assert [isinstance(part, ImagePart) for part in parts] == [False, True, False, True, False, True, False]
    assert prompt_text(mixed.sample) == f"Which is <image>?\nA. <image>\nB. <image>\n{HINT}"


def test_mvbench_cuts_whole_clips_and_takes_cut_ones_as_they_are(tmp_path):
    first, *_, last = written("mvbench", tmp_path)
    clip = clip_of(first)
    assert (clip.frames, clip.start, clip.end) == (24, 1.5, 4.0)
    assert clip.media.path.endswith("mvbench/video/star/Charades_v1_480/0.mp4")
    assert (clip_of(last).end, last.task, last.group) == (0.0, "state_change", "2")
    assert prompt_text(first.sample) == (
        "<video>\nQuestion:Which was opened?\nOption:\n(A) The window.\n(B) The door.\nOnly give the best option.\n"
    )


def test_mvbench_of_the_video_branch(tmp_path):
    folder = tmp_path / "mvbench"
    row = {"video": "a.mp4", "question": "?", "candidates": ["x", "y"], "answer": "y", "start": 1.0, "end": 2.0}
    save_json(folder / "json" / "object_interaction.json", [row])
    (folder / "star" / "Charades_segment").mkdir(parents=True)
    (folder / "star" / "Charades_segment" / "a.mp4").write_bytes(b"clip")
    _, (item,) = items_of("mvbench", tmp_path)
    assert (clip_of(item).start, clip_of(item).end) == (0.0, 0.0)


def test_mvbench_names_absent_clips_and_unknown_tasks(tmp_path):
    folder = tmp_path / "mvbench"
    row = {"video": "a.mp4", "question": "?", "candidates": ["x", "y"], "answer": "y"}
    save_json(folder / "json" / "cooking.json", [row])
    save_json(folder / "json" / "moving_count.json", [row, {**row, "answer": "z"}])
    with pytest.raises(DataError) as told:
        items_of("mvbench", tmp_path)
    assert "cooking.json is none of the 20 tasks" in str(told.value)
    assert "no clip 'a.mp4' in video/clevrer/video_validation" in str(told.value)
    assert "the right answer 'z' is none of the candidates" in str(told.value)


def test_mvbench_silence_counts(tmp_path):
    items = written("mvbench", tmp_path)
    benchmark = find("mvbench")
    values = [benchmark.score(said, item) for said, item in zip(["A", "", "B", "A"], items, strict=True)]
    scores = {score.metric: score.value for score in reported(benchmark, values, items)}
    assert scores["accuracy"] == pytest.approx((200 / 3 + 100) / 2) and scores["micro_accuracy"] == 75


@pytest.mark.parametrize(
    ("text", "letter"),
    [("(B) red", "B"), ("b. red", "B"), ("Best option:(C", "C"), ("a cat", "A"), ("the red one", None),
     ("F", None), ("", None)],
)  # fmt: skip
def test_the_reading_of_mvbench(text, letter):
    assert extract_choice(text, ["red", "blue", "green"], "interleave") == letter


def test_lines_of_json_that_are_not_json(tmp_path):
    (tmp_path / "nlvr2").mkdir()
    (tmp_path / "nlvr2" / "test1.json").write_text(json.dumps({"identifier": "test1-0-0-0"}) + "\n{broken\n")
    with pytest.raises(DataError, match="no column sentence, label"):
        items_of("nlvr2", tmp_path)


def test_frames_of_the_fixture_are_a_folder(tmp_path):
    frames(tmp_path / "clip")
    assert sorted(file.name for file in (tmp_path / "clip").iterdir()) == ["00001.jpg", "00002.jpg", "00003.jpg"]
