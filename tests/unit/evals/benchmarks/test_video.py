"""Video benchmarks: prompts, other releases, strange rows, what a judge is asked and what becomes of its replies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mm15.base.errors import DataError
from mm15.base.types import VideoPart
from mm15.evals.benchmark import find
from mm15.evals.items import Item, prompt_text
from mm15.evals.judge import Messages
from mm15.evals.predictions import Prediction
from mm15.evals.results import ask_judge, item_values, reported
from mm15.evals.scoring import hound_score
from official._clips import frames, save_csv, save_json
from official.nextqa import rows
from official_fixture import official

pytestmark = pytest.mark.video

HINT = "Answer with the option's letter from the given choices directly."
FIVE = "A. toy\nB. dog\nC. food\nD. dad\nE. song"


def items_of(name: str, root: Path, **options: object) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial=True, options=options))


def clip_of(item: Item) -> VideoPart:
    clip = item.sample.messages[0].parts[0]
    assert isinstance(clip, VideoPart)
    return clip


def written(name: str, root: Path, **options: object) -> list[Item]:
    official(name).write(root / name)
    return items_of(name, root, **options)


class Says:
    """A judge that gives prepared replies and keeps what it was asked."""

    name = "prepared"

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Messages] = []

    def ask(self, messages: Messages) -> str:
        self.asked.append(messages)
        return self.replies.pop(0)


def judged(name: str, items: Sequence[Item], answers: Sequence[str], judge: Says) -> dict[str, float]:
    benchmark = find(name)
    made = [
        Prediction(item.key, "", "", "" if said == "ERROR" else said, (), 0, "eos", item.task, "",
                   "no clip" if said == "ERROR" else "")
        for item, said in zip(items, answers, strict=True)
    ]  # fmt: skip
    kept = ask_judge(benchmark, made, items, judge, None)
    return {score.metric: score.value for score in reported(benchmark, item_values(benchmark, kept, items), items)}


def test_videomme_without_and_with_subtitles(tmp_path):
    first, *_ = written("videomme", tmp_path)
    options = "A. One.\nB. Two.\nC. Three.\nD. Four."
    select = "Select the best answer to the following multiple-choice question based on the video"
    letter = "Respond with only the letter (A, B, C, or D) of the correct option."
    rest = f"{letter}\nHow many boats pass?\n{options}\n\n{HINT}"
    assert prompt_text(first.sample) == f"<video>\n{select}. {rest}"
    assert (first.task, first.group, first.references) == ("short", "clip0", ("C",))
    clip = clip_of(first)
    assert (clip.frames, Path(clip.media.path).name) == (24, "clip0.mp4")
    first_line = '1\n00:00:01,000 --> 00:00:02,000\n<font color="white">Look, a boat.</font>\n\n'
    srt = first_line + "2\n00:00:03,000 --> 00:00:04,500\nAnd\nanother.\n"
    (tmp_path / "videomme" / "subtitle").mkdir()
    (tmp_path / "videomme" / "subtitle" / "clip0.srt").write_text(srt)
    shown = items_of("videomme", tmp_path, subtitles=True)
    told = "This video's subtitles are listed below:\n"
    assert prompt_text(shown[0].sample) == (
        f"<video>\n{told}Look, a boat.\nAnd another.\n{select} and the subtitles. {rest}"
    )
    assert f"{told}No subtitles available\n" in prompt_text(shown[2].sample)


def test_egoschema_of_the_authors_asks_only_what_has_an_answer(tmp_path):
    folder = tmp_path / "egoschema"
    asked = {"question": "What does C do?", **{f"option {k}": f"C does {k}." for k in range(5)}}
    save_json(folder / "questions.json", [{"q_uid": f"u{n}", **asked} for n in range(3)])
    save_json(folder / "subset_answers.json", {"u2": 4})
    frames(folder / "videos" / "u2")
    (item,) = items_of("egoschema", tmp_path)
    lines = "".join(f"\n{letter}. C does {k}." for k, letter in enumerate("ABCDE"))
    assert prompt_text(item.sample) == f"<video>\nWhat does C do?{lines}\n{HINT}"
    assert (item.key, item.references) == ("egoschema/u2", ("E",))
    with pytest.raises(DataError, match=r"1 rows where the official subset_answers\.json has 500"):
        find("egoschema").read(find("egoschema").open(tmp_path))
    (folder / "subset_answers.json").unlink()
    with pytest.raises(DataError, match=r"subset_answers\.json belongs beside"):
        items_of("egoschema", tmp_path)


def test_nextqa_of_the_authors_table_with_vidor_places(tmp_path):
    folder = tmp_path / "nextqa"
    save_csv(folder / "test.csv", rows("video"))
    save_json(folder / "map_vid_vidorID.json", {"4010069381": "1164/4010069381", "4010069382": "1020/4010069382"})
    for place in ("1164/4010069381", "1020/4010069382"):
        (folder / "videos" / place).parent.mkdir(parents=True)
        (folder / "videos" / f"{place}.mp4").write_bytes(b"clip")
    items = items_of("nextqa", tmp_path)
    assert prompt_text(items[0].sample) == f"<video>\nwhy does the baby smile\n{FIVE}\n{HINT}"
    assert [item.references[0] for item in items] == ["D", "A", "C", "A"]
    assert [item.task for item in items] == ["CW", "TN", "CW", "DO"]
    assert clip_of(items[3]).media.path.endswith("videos/1020/4010069382.mp4")
    assert items[0].group == items[1].group != items[2].group


def test_intentqa_names_absent_clips_and_answers_that_are_none(tmp_path):
    official("intentqa").write(tmp_path / "intentqa")
    (tmp_path / "intentqa" / "Videos" / "4010069382.mp4").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="row 2: no clip '4010069382' in videos, NExTVideo, Videos, "):
        items_of("intentqa", tmp_path)
    save_csv(tmp_path / "intentqa" / "test.csv", [{**rows("video_id")[0], "answer": 7}])
    with pytest.raises(DataError, match="the right answer '7' is none of the 5 options"):
        items_of("intentqa", tmp_path)


def test_activitynet_qa_of_the_authors_is_joined_by_question(tmp_path):
    folder = tmp_path / "activitynet-qa"
    asked = {"video_name": "abc", "question": "is the ball Red"}
    save_json(folder / "test_q.json", [{**asked, "question_id": "v_abc_1"}, {**asked, "question_id": "v_abc_2"}])
    save_json(folder / "test_a.json", [{"question_id": "v_abc_1", "answer": "yes", "type": 3}])
    (folder / "videos").mkdir()
    (folder / "videos" / "v_abc.mkv").write_bytes(b"clip")
    with pytest.raises(DataError, match="no answer with question_id 'v_abc_2'"):
        items_of("activitynet-qa", tmp_path)
    save_json(folder / "test_q.json", [{**asked, "question_id": "v_abc_1"}])
    (item,) = items_of("activitynet-qa", tmp_path)
    assert prompt_text(item.sample) == "<video>\nIs the ball red? Answer the question using a single word or phrase."
    assert (item.references, item.task) == (("yes",), "3")
    assert clip_of(item).media.path.endswith("v_abc.mkv")


def test_activitynet_qa_judged(tmp_path):
    items = written("activitynet-qa", tmp_path)
    judge = Says("{'pred': 'yes', 'score': 4.8}", "nonsense")
    scores = judged("activitynet-qa", items, ["red", "It is blue.", "", "ERROR"], judge)
    assert len(judge.asked) == 2, "neither silence nor an error is shown to the judge"
    assert judge.asked[0][1]["content"].startswith(
        "Please evaluate the following video-based question-answer pair:\n\nQuestion: what colour is the ball\n"
        "Correct Answer: red\nPredicted Answer: red\n\nProvide"
    )
    assert judge.asked[0][1]["content"].endswith("{'pred': 'yes', 'score': 4.8}.")
    assert {name: scores[name] for name in ("accuracy", "score", "unreadable")} == {
        "accuracy": 25, "score": 1.0, "unreadable": 25,
    }  # fmt: skip


def test_llava_hound_judged(tmp_path):
    items = written("llava-hound", tmp_path)
    assert [item.key for item in items][::3] == ["llava-hound/actnet/0_0", "llava-hound/msvd/0_0"]
    assert prompt_text(items[0].sample) == "<video>\nWhat does the cyclist wear?"
    judge = Says("Explanation: right.\nScore: 5", "Score: 2", "Explanation: so so\nScore: 3")
    long = " ".join(["white"] * 300)
    scores = judged("llava-hound", items, ["A white shirt.", "Black.", "", long], judge)
    told = judge.asked[0][0]["content"]
    assert "1. **Ground Truth Video Caption**: A cyclist in white rides up a hill.\n" in told
    assert "4. **Model Predicted Answer**: A white shirt.\n" in told
    assert judge.asked[2][0]["content"].count("white") == 256 + told.count("white") - 1
    assert scores["accuracy"] == pytest.approx((100 / 3 + 100) / 2)
    assert scores["score"] == pytest.approx((7 / 3 + 3) / 2)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 4", 4),
        ("Score: 3.5 of 5", 3.5),
        ("I give 4, yes 4 of 5", 4),
        ("4 or 5", 4.5),
        ("good", None),
        ("", None),
    ],
)
def test_hound_score(reply, score):
    assert hound_score(reply) == score


def test_llava_hound_of_an_unknown_set(tmp_path):
    official("llava-hound").write(tmp_path / "llava-hound")
    (tmp_path / "llava-hound" / "msvd.qa.jsonl").rename(tmp_path / "llava-hound" / "cooking.qa.jsonl")
    with pytest.raises(DataError, match=r"cooking\.qa\.jsonl is none of the sets webvid, vidal"):
        items_of("llava-hound", tmp_path)


def test_vcgbench_judged_in_five_aspects(tmp_path):
    items = written("vcgbench", tmp_path)
    assert [item.task for item in items] == ["generic", "generic", "temporal", "consistency", "consistency"]
    assert prompt_text(items[4].sample) == "<video>\nWhich colour has the wall?"
    judge = Says(*(f"{{'score': {n}}}" for n in (5, 4, 3, 2, 1)))
    scores = judged("vcgbench", items, ["He paints.", "", "First he paints.", "Blue.", "Red."], judge)
    about = [messages[0]["content"].split(" of generative")[0].rpartition("the ")[2] for messages in judge.asked]
    assert about == [
        "factual accuracy", "detail orientation", "contextual understanding", "temporal understanding", "consistency",
    ]  # fmt: skip
    assert (
        "Question 1: What colour is the wall?\nQuestion 2: Which colour has the wall?\nCorrect Answer: Blue.\n"
        "Predicted Answer to Question 1: Blue.\nPredicted Answer to Question 2: Red.\n"
    ) in judge.asked[4][1]["content"]
    wanted = {"correctness": 2.5, "detail": 2.0, "context": 1.5, "temporal": 2.0, "consistency": 1.0}
    assert scores == pytest.approx({"mean_score": 1.8, **wanted, "unreadable": 0.0})


@pytest.mark.parametrize(("first", "second"), [("", "Red."), ("Blue.", ""), ("ERROR", "Red."), ("Blue.", "ERROR")])
def test_a_pair_with_a_silent_half_is_not_consistent(first, second, tmp_path):
    items = written("vcgbench", tmp_path)[3:]
    judge = Says()
    scores = judged("vcgbench", items, [first, second], judge)
    assert judge.asked == [] and scores == {"mean_score": 0.0, "consistency": 0.0, "unreadable": 0.0}


def test_vcgbench_of_the_authors(tmp_path):
    folder = tmp_path / "vcgbench"
    save_json(folder / "generic_qa.json", [{"video_name": "v_0", "Q": "What?", "A": "A wall."}])
    save_json(folder / "temporal_qa.json", [{"video_name": "v_0", "Q": "When?", "A": "Later."}])
    save_json(folder / "consistency_qa.json", [{"video_name": "v_0", "Q1": "Who?", "Q2": "Which man?", "A": "Jo."}])
    frames(folder / "Test_Videos" / "v_0")
    items = items_of("vcgbench", tmp_path)
    assert [item.key for item in items[2:]] == ["vcgbench/consistency/0.1", "vcgbench/consistency/0.2"]
    judge = Says("{'score': 5}")
    assert judged("vcgbench", items[2:], ["Jo.", "Jo"], judge)["consistency"] == 5.0


def test_vcgbench_tells_all_parts_that_are_not_there(tmp_path):
    (tmp_path / "vcgbench").mkdir()
    with pytest.raises(DataError, match=r"no Generic/test(.|\n)*no Temporal/test(.|\n)*no Consistency/test"):
        items_of("vcgbench", tmp_path)


def test_a_clip_that_is_there_but_cannot_be_used_is_told_as_it_is(tmp_path):
    (tmp_path / "intentqa" / "Videos" / "4010069381").mkdir(parents=True)
    save_csv(tmp_path / "intentqa" / "test.csv", rows("video_id")[:1])
    with pytest.raises(DataError, match=r"the folder 'Videos/4010069381' holds no frames"):
        items_of("intentqa", tmp_path)
