"""Tables of questions and answers: the published ones by their own columns, and every way to get the map wrong."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from data_fixture import small_processor
from format_fixture import Opened, made, picture, refused, told, write_parquet, write_tar
from mm15.base.errors import ConfigError
from mm15.base.types import Category, Role, Sample
from mm15.data.source import Source, SourceConfig

NAME = "qa-columns"


def said(sample: Sample) -> list[str]:
    return [message.text for message in sample.messages]


def image(**more: Any) -> dict[str, Any]:
    return {"image": {"bytes": picture(), "path": None}} | more


# The published sets, one after the other.

PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "OpenOrca": (
        {"id": "t0", "system_prompt": "Be kind.", "question": "Q?", "response": "R."},
        {"system": "{system_prompt}", "answer": "{response}"},
        ["Be kind.", "Q?", "R."],
    ),
    "OpenOrca without a system prompt": (
        {"id": "t0", "system_prompt": "", "question": "Q?", "response": "R."},
        {"system": "{system_prompt}", "answer": "{response}"},
        ["Q?", "R."],
    ),
    "MathInstruct": (
        {"source": "CoT/gsm", "instruction": "Add {1, 2}.", "output": "\\frac{6}{2}"},
        {"question": "{instruction}", "answer": "{output}"},
        ["Add {1, 2}.", "\\frac{6}{2}"],
    ),
    "OrcaMath": ({"question": "Q?", "answer": "A."}, {}, ["Q?", "A."]),
    "Dolly": (
        {"instruction": "Sum up.", "context": "Long [[text]] {x}.", "response": "Short.", "category": "sum"},
        {"question": "{instruction}[[\n\n{context}]]", "answer": "{response}"},
        ["Sum up.\n\nLong [[text]] {x}.", "Short."],
    ),
    "Dolly without context": (
        {"instruction": "Why?", "context": " ", "response": "So.", "category": "qa"},
        {"question": "{instruction}[[\n\n{context}]]", "answer": "{response}"},
        ["Why?", "So."],
    ),
    "WebSight": (
        image(text="<html></html>", llm_generated_idea="shop"),
        {"question": "Write the HTML of this page.", "answer": "{text}"},
        ["Write the HTML of this page.", "<html></html>"],
    ),
    "DaTikZ": (
        image(code="\\draw (0,0);", caption="A dot.", uri="u", origin="arxiv", date="2023"),
        {"question": "Draw this with TikZ: {caption}", "answer": "{code}"},
        ["Draw this with TikZ: A dot.", "\\draw (0,0);"],
    ),
    "SynthDoG": (
        image(ground_truth=json.dumps({"gt_parse": {"text_sequence": "Some text"}})),
        {"question": "Read the text.", "answer": "{ground_truth.gt_parse.text_sequence}"},
        ["Read the text.", "Some text"],
    ),
    "AI2D": (
        image(question="Which?", options=["cat", "dog"], answer="1"),
        {"choices": "options", "answer_index": "answer"},
        ["Which?\nA. cat\nB. dog", "B"],
    ),
    "ScienceQA": (
        image(question="Which?", choices=["cat", "dog", "cow"], answer=2, hint="It moos.", lecture="", solution=""),
        {
            "question": "[[Context: {hint}\n]]{question}\n{choices}",
            "choices": "choices",
            "answer_index": "answer",
            "answer": "{letter}. {choice}",
        },
        ["Context: It moos.\nWhich?\nA. cat\nB. dog\nC. cow", "C. cow"],
    ),
    "MMMU": (
        image(question="Which?", options="['a cat', \"it's\"]", answer="B"),
        {"choices": "options", "answer_index": "answer", "choice_format": "({letter}) {choice}"},
        ["Which?\n(A) a cat\n(B) it's", "B"],
    ),
    "choices in columns, some empty": (
        image(question="Which?", A="cat", B="dog", C="", D=None, answer="b"),
        {"choices": ["A", "B", "C", "D"], "answer_index": "answer", "answer": "{choice}"},
        ["Which?\nA. cat\nB. dog", "dog"],
    ),
    "TextVQA": (
        image(question="Brand?", answers=["nokia", "sony", "sony"]),
        {"answer": "{answers}", "answers": "most_common"},
        ["Brand?", "sony"],
    ),
    "VQAv2": (
        image(question="Brand?", answers=[{"answer": "nokia", "answer_id": 1}, {"answer": "sony", "answer_id": 2}]),
        {"answer": "{answers.*.answer}", "answers": "first"},
        ["Brand?", "nokia"],
    ),
    "answers that are one string": (image(question="Q?", answers="4"), {"answer": "{answers}"}, ["Q?", "4"]),
    "one answer in a list": (image(question="Q?", answers=["4", "4"]), {"answer": "{answers}"}, ["Q?", "4"]),
    "an answer that is a number": (image(question="Q?", answer=4.5), {}, ["Q?", "4.5"]),
    "TabFact": (
        image(statement="It rained.", label=1),
        {"question": "Is it true? {statement}", "answer": "{label}", "answer_map": {"0": "No", "1": "Yes"}},
        ["Is it true? It rained.", "Yes"],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_by_their_own_columns(tmp_path: Path, name: str):
    row, options, wanted = PUBLISHED[name]
    sample = Opened(NAME, write_parquet(tmp_path / "t.parquet", [row]), **options).sample()
    assert said(sample) == wanted
    assert len(sample.images) == ("image" in row) and all(i.media.data == picture() for i in sample.images)
    assert [m.trained for m in sample.messages] == [m.role is Role.ASSISTANT for m in sample.messages]


def test_the_other_columns_become_meta(tmp_path: Path):
    row, options, _ = PUBLISHED["TextVQA"]
    sample = Opened(NAME, write_parquet(tmp_path / "t.parquet", [row | {"question_id": 7}]), **options).sample()
    assert sample.meta == {"answers": ["nokia", "sony", "sony"], "question_id": 7}


def test_csv_and_tsv(tmp_path: Path):
    (tmp_path / "t.csv").write_text('id,q,a\n1,"What, then?","Line\none"\n', encoding="utf-8")
    assert said(Opened(NAME, tmp_path / "t.csv", question="{q}", answer="{a}").sample()) == ["What, then?", "Line\none"]
    (tmp_path / "t.tsv").write_text("index\timage\tquestion\tanswer\n0\ta.png\tQ?\t12\n", encoding="utf-8")
    sample = Opened(NAME, tmp_path / "t.tsv").sample()
    assert told(sample.messages[0].parts) == ["<a.png>", "Q?"] and sample.messages[1].text == "12"


def test_pictures_in_base64(tmp_path: Path):
    encoded = base64.b64encode(picture()).decode()
    (tmp_path / "t.tsv").write_text(f"image\tquestion\tanswer\n{encoded}\tQ?\tA\n17\tQ?\tA\n", encoding="utf-8")
    opened = Opened(NAME, tmp_path / "t.tsv", image_encoding="base64")
    assert opened.sample(0).images[0].media.data == picture() and "not base64" in opened.refused(1)


def test_wikitablequestions_escapes_and_several_answers(tmp_path: Path):
    text = 'id\tutterance\tcontext\ttargetValue\nnt-0\tthe 6" or\\n12"?\tcsv/1\tone\\ptwo|th\\\\ree\n'
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    options = {"question": "{utterance}", "answer": "{targetValue}", "escapes": "wtq"}
    assert "lists 2 answers; choose" in Opened(NAME, tmp_path / "t.tsv", **options).refused()
    sample = Opened(NAME, tmp_path / "t.tsv", answers="join", **options).sample()
    assert said(sample) == ['the 6" or\n12"?', "one|two, th\\ree"]


def test_rows_inside_of_an_object(tmp_path: Path):
    pairs = [{"question_string": "Q?", "answer": 7, "image_index": 3}, {"question_string": "R?", "answer": "x"}]
    (tmp_path / "qa.json").write_text(json.dumps({"qa_pairs": pairs, "other": []}), encoding="utf-8")
    options = {"rows": "qa_pairs", "question": "{question_string}", "image": "png/{image_index}.png"}
    opened = Opened(NAME, tmp_path / "qa.json", **options)
    sample = opened.sample(0)
    assert sample.images[0].media.path == str(tmp_path / "png/3.png") and said(sample) == ["Q?", "7"]
    assert opened.refused(1).startswith("no column 'image_index'; there are: question_string, answer")


OCRVQA = {
    "034": {"imageURL": "http://x", "split": 1, "questions": ["Who?", "What?"], "answers": ["Poe", "Poems"]},
    "035": {"imageURL": "http://x", "split": 3, "questions": ["Who?"], "answers": ["Kant"]},
    "036": {"imageURL": "http://x", "split": 1, "questions": ["Who?"], "answers": []},
    "037": 5,
}
OCRVQA_OPTIONS = {
    "rows": "*",
    "image": "images/{__key__}.jpg",
    "each": ["questions", "answers"],
    "question": "{questions}",
    "answer": "{answers}",
}


def test_ocrvqa_is_an_object_of_rows_with_parallel_lists_and_a_split(tmp_path: Path):
    (tmp_path / "dataset.json").write_text(json.dumps(OCRVQA), encoding="utf-8")
    assert len(Opened(NAME, tmp_path / "dataset.json", **OCRVQA_OPTIONS).rows) == 4
    opened = Opened(NAME, tmp_path / "dataset.json", where={"split": 1}, **OCRVQA_OPTIONS)
    assert len(opened.rows) == 3
    sample = opened.sample(0)
    assert told(sample.messages[0].parts) == ["<034.jpg>", "Who?"] and said(sample)[1:] == ["Poe", "What?", "Poems"]
    assert opened.rows.address(1).endswith("dataset.json:036") and "lists of one length" in opened.refused(1)
    assert pickle.loads(pickle.dumps(opened.rows)).row(0) == opened.rows.row(0)
    with pytest.raises(Exception, match="expected a JSON object, found int"):
        opened.rows.row(2)


def test_a_where_that_no_column_answers_stops_instead_of_keeping_all(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"question": "Q", "answer": "A"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="option 'where': no column 'split'; there are: question, answer"):
        Opened(NAME, tmp_path / "t.jsonl", where={"split": "train"})


def test_turns_listed_as_objects():
    row = image(qa_pairs=[{"q": "One?", "a": "1"}, {"q": "Two?", "a": 2}])
    sample = made(NAME, row, pairs="qa_pairs", question="{q}", answer="{a}")
    assert said(sample) == ["One?", "1", "Two?", "2"] and len(sample.messages[0].parts) == 2
    assert "must be a list of objects" in refused(NAME, image(qa_pairs=["x"]), pairs="qa_pairs")


def test_a_row_without_question_is_a_document():
    sample = made(NAME, {"image": "a.png", "caption": "A dog."}, Category.CAPTION, question="", answer="{caption}")
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and message.trained and told(message.parts) == ["<a.png>", "A dog."]
    assert refused(NAME, {"image": "a.png", "caption": " "}, question="", answer="{caption}") == "an empty answer"


def test_pictures_stand_where_the_question_says():
    row = {"images": ["a.png", "b.png"], "question": "Is <image> like <image>?", "answer": "No"}
    assert told(made(NAME, row).messages[0].parts) == ["Is ", "<a.png>", " like ", "<b.png>", "?"]
    assert "1 <image> placeholders for 2" in refused(NAME, row | {"question": "<image>?"})
    numbered = {
        "image_1": "a.png",
        "image_2": "b.png",
        "question": "<image 2>, not <image 1>? <image 2>!",
        "answer": "No",
    }
    sample = made(NAME, numbered, image=["{image_1}", "{image_2}"])
    assert told(sample.messages[0].parts) == ["<b.png>", ", not ", "<a.png>", "? ", "image 2", "!"]
    gone = numbered | {"question": "<image 1>?"}
    assert "no text names picture 2 of 2" in refused(NAME, gone, image=["{image_1}", "{image_2}"])
    assert "<image 3> is not one of the 2" in refused(
        NAME, numbered | {"question": "<image 3>"}, image=["{image_1}", "{image_2}"]
    )


@pytest.mark.parametrize("empty", [None, "", []])
def test_a_row_without_its_picture_is_refused_or_text_as_the_recipe_says(empty: Any):
    row = {"image": empty, "question": "Q?", "answer": "A"}
    assert "no picture in {image}; to use such rows as text" in refused(NAME, row)
    assert made(NAME, row, missing_image="text").images == ()


def test_files_of_a_tar_are_columns(tmp_path: Path):
    tar = write_tar(tmp_path / "d2c.tar", {"1.png": picture(), "1.html": "<p>One</p>"})
    sample = Opened(NAME, tar, image="{png}", question="Write its HTML.", answer="{html}").sample()
    assert sample.images[0].media.member == "1.png" and sample.messages[1].text == "<p>One</p>"


@pytest.mark.parametrize(
    ("row", "options", "reason"),
    [
        ({"q": "Q?", "answer": "A"}, {}, "no column 'question'; there are: q, answer"),
        ({}, {}, "no column 'question'; there are: none"),
        ({"question": "Q?", "answer": "A"}, {"question": "question"}, "is the name of a column; write '{question}'"),
        ({"question": "Q?", "answer": "A"}, {"image": "{img}"}, "no column 'img'; there are: question, answer"),
        ({"question": " ", "answer": "A"}, {}, "the question is empty"),
        ({"question": "Q?", "answer": None}, {}, "the assistant says nothing"),
        ({"question": "Q?", "answer": {"x": 1}}, {}, "'answer' is a dict, no text; name what is wanted"),
        ({"question": "Q?", "answer": ["a", "b"]}, {}, "lists 2 answers; choose with option 'answers'"),
        ({"question": "Q?", "answer": []}, {}, "lists no answers"),
        ({"question": "Q?", "gt": "{"}, {"answer": "{gt.text}"}, "'gt.text' is not valid JSON"),
        ({"question": "Q?", "gt": '{"a": 1}'}, {"answer": "{gt.b}"}, "'gt.b': no 'b'; found: a"),
        ({"question": "Q?", "gt": [1]}, {"answer": "{gt.4}"}, "'gt.4': no '4'; found: list"),
        ({"question": "Q?", "answer": "x"}, {"answer_map": {"0": "No"}}, "the answer 'x' is not in answer_map (0)"),
        (
            {"question": "Q?", "o": "x", "answer": 0},
            {"choices": "o", "answer_index": "answer"},
            "'o' is not valid JSON",
        ),
        (
            {"question": "Q?", "o": 4, "answer": 0},
            {"choices": "o", "answer_index": "answer"},
            "must be a list of choices",
        ),
        ({"question": "Q?", "o": [], "answer": 0}, {"choices": "o", "answer_index": "answer"}, "0 choices"),
        (
            {"question": "Q?", "o": ["a"], "answer": 1},
            {"choices": "o", "answer_index": "answer"},
            "there are 1 choices",
        ),
        (
            {"question": "Q?", "o": ["a"], "answer": 0},
            {"choices": "o", "answer_index": "answer", "index_base": 1},
            "numbers begin at 1",
        ),
        (
            {"question": "Q?", "o": ["a"], "answer": "cat"},
            {"choices": "o", "answer_index": "answer"},
            "must be the number or letter of a choice, found 'cat'",
        ),
        ({"question": "Q?", "answer": "A", "image": "/etc/a.png"}, {}, "relative to the data folder"),
        ({"question": "Q?", "answer": "A", "image": "https://x/a.png"}, {}, "network address"),
    ],
)
def test_rows_that_the_map_does_not_fit_are_refused_with_a_reason(row: Any, options: Any, reason: str):
    assert reason in refused(NAME, row, **options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"answer_index": "answer"}, "answer_index needs choices"),
        ({"choices": "options", "question": "{question}"}, "question must show the {choices}"),
        ({"pairs": "a", "each": ["b"]}, "give one"),
        ({"questions": "{q}"}, "unknown key"),
    ],
)
def test_a_map_that_cannot_be_right_is_refused_before_any_row(tmp_path: Path, options: Any, reason: str):
    with pytest.raises(ConfigError, match=reason.replace("{", r"\{")):
        Opened(NAME, tmp_path / "x.jsonl", **options)


@pytest.mark.parametrize(
    ("content", "reason"), [("[]", "expected an object of rows, found list"), ("{", "not valid JSON")]
)
def test_an_object_of_rows_that_is_none(tmp_path: Path, content: str, reason: str):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        Opened(NAME, tmp_path / "x.json", rows="*")
    (tmp_path / "x.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"for \.json files"):
        Opened(NAME, tmp_path / "x.jsonl", rows="data")


def test_a_source_of_several_files_in_one_map_travels_to_other_processes(tmp_path: Path):
    for name, answers in (("a", ["one", "two"]), ("b", ["three"])):
        pairs = [{"q": "which", "reply": answer, "split": answer} for answer in answers]
        (tmp_path / f"{name}.json").write_text(json.dumps({"info": {}, "data": pairs}), encoding="utf-8")
    options = {"rows": "data", "question": "{q}", "answer": "{reply}"}
    config = SourceConfig(name="t", path="*.json", format=NAME, category=Category.TEXT_ONLY, options=options)
    source = Source(config, tmp_path)
    assert [said(source.sample(number))[1] for number in range(len(source))] == ["one", "two", "three"]
    there = pickle.loads(pickle.dumps(source))
    assert said(there.sample(2))[1] == "three" and there.address(2).endswith("b.json:data[0]")
    assert int(source.costs(small_processor())[:, 0].min()) > 0
    chosen = config.model_copy(update={"options": options | {"where": {"split": "two"}}})
    assert [said(Source(chosen, tmp_path).sample(0))[1]] == ["two"] and len(Source(chosen, tmp_path)) == 1
