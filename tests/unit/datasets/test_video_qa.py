"""Questions about clips as published: VideoChat2-IT, ActivityNet-QA, NExT-QA, IntentQA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Category, ImagePart, Sample, TextPart, VideoPart
from mm15.datasets import video_qa
from rows_fixture import one, read_all, refusal, samples, save_picture, write_json

pytestmark = pytest.mark.video

QA = [{"i": "Answer briefly.", "q": "What is cut?", "a": "An onion."}]


def film(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"film")
    return path


def chat(tmp_path: Path, **changes: Any) -> Path:
    return write_json(tmp_path / "train.json", [{"video": "x.mp4", "QA": QA} | changes])


def anet(tmp_path: Path, questions: Any = None, answers: Any = None) -> Path:
    asked = [{"video_name": "1QIUV7WYKXg", "question": "is it day", "question_id": "v_1_0"}]
    told = [{"answer": "yes", "type": 3, "question_id": "v_1_0"}]
    write_json(tmp_path / "train_a.json", told if answers is None else answers)
    return write_json(tmp_path / "train_q.json", asked if questions is None else questions)


def nextqa(tmp_path: Path, line: str, header: str = "video,question,answer,qid,type,a0,a1,a2,a3,a4") -> Path:
    path = tmp_path / "train.csv"
    path.write_text(f"{header}\n{line}\n", "utf-8")
    return path


def clip_of(sample: Sample) -> VideoPart:
    (part,) = (part for message in sample.messages for part in message.parts if isinstance(part, VideoPart))
    return part


# videochat2


def test_a_clip_stands_before_its_first_question_and_an_instruction_is_said_once(tmp_path: Path):
    items = [*QA, {"i": "Answer briefly.", "q": "And then?", "a": "A carrot."}, {"i": "Now in full.", "a": "Salad."}]
    film(tmp_path / "cooking/x.mp4")
    path = chat(tmp_path, QA=items, start=2.5, end=10, source="youcook")
    sample = one(read_all(video_qa, path, tmp_path, Category.VIDEO, videos="cooking", frames=8))
    assert sample.messages[0].parts == (
        VideoPart(clip_of(sample).media, 8, 2.5, 10.0),
        TextPart("\nAnswer briefly.\nWhat is cut?"),
    )
    assert clip_of(sample).media.path == str(tmp_path / "cooking/x.mp4")
    assert [message.text for message in sample.messages[2::2]] == ["And then?", "Now in full."]
    assert [message.text for message in sample.messages[1::2]] == ["An onion.", "A carrot.", "Salad."]
    assert sample.meta == {"source": "youcook"}


def test_rows_about_pictures_carry_pictures(tmp_path: Path):
    path = write_json(tmp_path / "train.json", [{"image": "a.png", "QA": QA}, {"image": ["a.png", "b.png"], "QA": QA}])
    first, second = samples(read_all(video_qa, path, tmp_path))
    assert isinstance(first.messages[0].parts[0], ImagePart) and len(second.images) == 2


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (["x.mkv"], "x.mp4", "x.mkv"),
        (["x.webm"], "x", "x.webm"),
        (["x.mp4", "x.mkv"], "x.mkv", "x.mkv"),
        (["x/000001.jpg"], "x.mp4", "x"),
        (["x/000001.jpg"], "x", "x"),
        (["x.y.mp4"], "x.y", "x.y.mp4"),
        ([], "x.mp4", "x.mp4"),
    ],
)
def test_a_clip_is_found_by_another_ending_or_as_a_folder_of_frames(
    tmp_path: Path, there: list[str], asked: str, found: str
):
    for name in there:
        film(tmp_path / "v" / name)
    sample = one(read_all(video_qa, chat(tmp_path, video=asked), tmp_path, videos="v"))
    assert clip_of(sample).media.path == str(tmp_path / "v" / found)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"video": "x"}, "neither a folder of frames nor a file ending in mp4"),
        ({"video": "../x.mp4"}, "stay inside"),
        ({"video": "https://x/x.mp4"}, "network address"),
        ({"video": None}, "is not a file name"),
        ({"QA": []}, "at least one {i, q, a}"),
        ({"QA": [{"i": "", "q": "", "a": "A"}]}, "item 0 of 'QA' asks nothing"),
        ({"QA": [{"i": "", "q": "Q", "a": ""}]}, "must be a text"),
        ({"start": 5, "end": 5}, "'start' must lie before 'end'"),
        ({"start": -1, "end": 5}, "seconds from 0"),
        ({"start": "1", "end": 5}, "seconds from 0"),
    ],
)
def test_broken_rows_are_refused(tmp_path: Path, row: dict[str, Any], reason: str):
    assert reason in refusal(read_all(video_qa, chat(tmp_path, **row), tmp_path))


def test_a_folder_without_frames_and_an_empty_list_of_pictures_are_refused(tmp_path: Path):
    film(tmp_path / "x/notes.txt")
    assert "holds no frames" in refusal(read_all(video_qa, chat(tmp_path, video="x"), tmp_path))
    path = write_json(tmp_path / "train.json", [{"image": [], "QA": QA}])
    assert "empty list" in refusal(read_all(video_qa, path, tmp_path))


# anet-qa


def test_questions_and_answers_of_activitynet_are_joined_by_their_id(tmp_path: Path):
    film(tmp_path / "clips/v_1QIUV7WYKXg.mkv")
    sample = one(read_all(video_qa, anet(tmp_path), tmp_path, mode="anet-qa", videos="clips"))
    assert clip_of(sample).media.path.endswith("clips/v_1QIUV7WYKXg.mkv")
    assert sample.messages[0].text.startswith("\nis it day\nAnswer the question using a single word")
    assert sample.messages[1].text == "yes" and sample.meta == {"question_id": "v_1_0", "type": 3}
    film(tmp_path / "1QIUV7WYKXg.mp4")
    bare = one(read_all(video_qa, anet(tmp_path), tmp_path, mode="anet-qa", prefix="", short=False))
    assert bare.messages[0].text == "\nis it day"


@pytest.mark.parametrize("answers", [[], [{"answer": "a", "question_id": "v_1_0"}] * 2])
def test_a_question_needs_exactly_one_answer(tmp_path: Path, answers: list[Any]):
    told = refusal(read_all(video_qa, anet(tmp_path, answers=answers), tmp_path, mode="anet-qa"))
    assert f"{len(answers)} answers with question_id 'v_1_0' in train_a.json" in told and "train_q.json:[0]" in told


def test_a_missing_file_of_answers_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"b\.json"):
        read_all(video_qa, anet(tmp_path), tmp_path, mode="anet-qa", answers="b.json")
    with pytest.raises(ConfigError, match="list of objects"):
        read_all(video_qa, anet(tmp_path, questions={"a": 1}), tmp_path, mode="anet-qa")


# nextqa-csv


def test_nextqa_asks_for_a_letter_and_finds_clips_through_its_map(tmp_path: Path):
    film(tmp_path / "NExTVideo/1150/4010069381.mp4")
    write_json(tmp_path / "map_vid_vidorID.json", {"4010069381": "1150/4010069381"})
    path = nextqa(tmp_path, '4010069381,why does he smile,3,6,CW,toy,"dog, cat",food,dad,song')
    options = {"mode": "nextqa-csv", "videos": "NExTVideo", "video_map": "map_vid_vidorID.json"}
    sample = one(read_all(video_qa, path, tmp_path, **options))
    assert clip_of(sample).media.path.endswith("NExTVideo/1150/4010069381.mp4")
    asked = sample.messages[0].text
    assert "\nwhy does he smile\nA. toy\nB. dog, cat\nC. food\nD. dad\nE. song\n" in asked and "letter" in asked
    assert sample.messages[1].text == "D" and sample.meta == {"qid": "6", "type": "CW"}


def test_intentqa_and_open_ended_questions_use_the_same_layout(tmp_path: Path):
    film(tmp_path / "7.mp4")
    choice = nextqa(tmp_path, "7,why,0,a,b,c,d,e", "video_id,question,answer,a0,a1,a2,a3,a4")
    assert one(read_all(video_qa, choice, tmp_path, mode="nextqa-csv")).messages[1].text == "A"
    open_ended = nextqa(tmp_path, "7,what is he holding,a cup", "video,question,answer")
    sample = one(read_all(video_qa, open_ended, tmp_path, mode="nextqa-csv"))
    assert sample.messages[1].text == "a cup" and "single word" in sample.messages[0].text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7,why,5,6,CW,a,b,c,d,e", "number of an option, 0 to 4, found 5"),
        ("7,why,b,6,CW,a,b,c,d,e", "number of an option, 0 to 4, found 'b'"),
        ("7,why,0,6,CW,a,,c,d,e", "'option 1' must be a text"),
        ("7,,0,6,CW,a,b,c,d,e", "'question' must be a text"),
        ("8,why,0,6,CW,a,b,c,d,e", "no clip '8'"),
    ],
)
def test_broken_choices_are_refused(tmp_path: Path, line: str, reason: str):
    film(tmp_path / "7.mp4")
    assert reason in refusal(read_all(video_qa, nextqa(tmp_path, line), tmp_path, mode="nextqa-csv"))


def test_a_clip_that_the_map_lacks_is_refused(tmp_path: Path):
    write_json(tmp_path / "map.json", {})
    path = nextqa(tmp_path, "7,why,0,6,CW,a,b,c,d,e")
    assert "not in map.json" in refusal(read_all(video_qa, path, tmp_path, mode="nextqa-csv", video_map="map.json"))


def test_a_picture_beside_the_clips_is_no_clip(tmp_path: Path):
    save_picture(tmp_path / "x.jpg")
    assert "no clip 'x'" in refusal(read_all(video_qa, chat(tmp_path, video="x"), tmp_path))
