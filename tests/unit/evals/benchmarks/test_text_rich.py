"""Text-rich benchmarks: what is asked word for word, the other shapes of their files, and splits without answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError, DataError
from mm15.evals.benchmark import find
from mm15.evals.items import Item, prompt_text
from mm15.evals.launch import Job, launch
from mm15.evals.predictions import Prediction
from mm15.evals.report import pick_examples
from mm15.evals.request import Request
from mm15.evals.results import item_values, reported, results_json, summary
from mm15.evals.run import evaluate
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from official import docvqa, infovqa, ocrbench, tabfact, textvqa, wtq
from official._shared import docowl, json_file, jsonl
from official_fixture import base64_picture, cell, official, parquet, save_picture, tsv


def read(name: str, root: Path, **options) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial=True, options=options))


SHORT = "Answer the question using a single word or phrase."
PROMPTS = {
    "wtq": f"<image>\nwhich two?\n{SHORT} Separate several answers with ||.",
    "tabfact": "<image>\nStatement: the team won 2 games\nIs the statement true or false? "
    "Answer with True or False only.",
    "ocrbench": "<image>\nwrite it in LaTeX",
    "textvqa": f"<image>\nWhat is brand 2?\n{SHORT}",
    "docvqa": f"<image>\nWhat is written in line 2?\n{SHORT}",
    "infovqa": f"<image>\nHow many are in group 2?\n{SHORT}",
}


@pytest.mark.parametrize("name", list(PROMPTS))
def test_prompts_word_for_word(name: str, tmp_path):
    official(name).write(tmp_path / name)
    items = read(name, tmp_path)
    assert prompt_text(items[2].sample) == PROMPTS[name]
    assert items[2].key == f"{name}/2"


def test_ocrbench_tells_its_kinds_apart(tmp_path):
    ocrbench.write(tmp_path / "ocrbench")
    benchmark, items = find("ocrbench"), read("ocrbench", tmp_path)
    values = benchmark.score_all(["centre", "Twelve", "X^2", "no"], items)
    found = {score.metric: (score.value, score.n) for score in reported(benchmark, values, items)}
    assert found == {
        "accuracy": (75.0, 4),
        "accuracy (Doc-oriented VQA)": (100.0, 1),
        "accuracy (Handwritten Mathematical Expression Recognition)": (100.0, 1),
        "accuracy (Regular Text Recognition)": (50.0, 2),
    }


def test_vlmevalkit_tables(tmp_path):
    shared = {"index": 0, "image": base64_picture(1, 60, 20)}
    kind = "Handwritten Mathematical Expression Recognition"
    rows = [{**shared, "question": "read", "answer": "['X', 'Y']", "category": kind}]
    tsv(tmp_path / "ocrbench" / "OCRBench.tsv", rows)
    (item,) = read("ocrbench", tmp_path)
    assert (item.references, item.task, item.facts["handwritten"], item.size) == (("X", "Y"), kind, True, (60, 20))
    tsv(tmp_path / "textvqa" / "TextVQA_VAL.tsv", [{**shared, "question": "q?", "answer": str(["a"] * 10)}])
    assert read("textvqa", tmp_path)[0].references == ("a",) * 10
    tsv(tmp_path / "docvqa" / "DocVQA_VAL.tsv", [{**shared, "question": "q?", "answer": "['1', 'one']"}])
    assert read("docvqa", tmp_path)[0].references == ("1", "one")
    tsv(tmp_path / "infovqa" / "InfoVQA_VAL.tsv", [{**shared, "question": "q?", "answer": "42"}])
    assert read("infovqa", tmp_path)[0].references == ("42",)


def test_tablevqa_bench_gives_its_part_of_both_tests(tmp_path):
    rows = [
        {"index": n, "image": base64_picture(n, 60, 30), "question": f"q{n}", "answer": answer, "split": split}
        for n, (split, answer) in enumerate(
            [("vwtq", "a|b"), ("vtabfact", "1"), ("vwtq_syn", "c"), ("vtabfact", "0"), ("fintabnetqa", "$ 3")]
        )
    ]
    for name in ("wtq", "tabfact"):
        tsv(tmp_path / name / "TableVQABench.tsv", rows)
    assert [item.references for item in read("wtq", tmp_path)] == [("a|b",)]
    assert find("wtq").score("b||a", read("wtq", tmp_path)[0]) == {"denotation_accuracy": 1.0}
    assert [item.references for item in read("tabfact", tmp_path)] == [("1",), ("0",)]
    with pytest.raises(DataError, match=r"1 rows where the official TableVQABench\.tsv has 750"):
        find("wtq").read(find("wtq").open(tmp_path))
    for split, name, right in (("vwtq", "wtq", "7"), ("vtabfact", "tabfact", "True")):
        row = {"qa_id": "x", "question": "q", "gt": right, "text_html_table": "<table>", "image": cell(3, 40, 20)}
        parquet(tmp_path / "hf" / name / "data" / f"{split}-00000-of-00001-ab.parquet", [row])
    assert read("wtq", tmp_path / "hf")[0].references == ("7",)
    assert read("tabfact", tmp_path / "hf")[0].references == ("1",)


def test_strange_rows_of_docdownstream_are_named(tmp_path):
    docowl(tmp_path / "tabfact", "TabFact_test.jsonl", [("it won, Yes or No?", "Yes"), ("it lost", "maybe")])
    with pytest.raises(DataError, match=r"row 1: the right answer must be one of true, .* found 'maybe'"):
        read("tabfact", tmp_path)
    file = tmp_path / "tabfact" / "test" / "TabFact_test.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    (item,) = read("tabfact", tmp_path)
    assert "Statement: it won\nIs" in prompt_text(item.sample) and item.references == ("1",)
    jsonl(tmp_path / "wtq" / "WikiTableQuestions_test.jsonl", [{"image": ["a.png"], "messages": [{"role": "user"}]}])
    with pytest.raises(DataError, match="expected one picture, a question and an answer"):
        read("wtq", tmp_path)
    (tmp_path / "tabfact" / "imgs" / "DUE_Benchmark" / "0.png").unlink()
    with pytest.raises(DataError, match=r"tabfact/0: no picture .*0\.png"):
        read("tabfact", tmp_path)


def test_authors_files(tmp_path):
    save_picture(tmp_path / "docvqa" / "documents" / "a_1.png", 1, 30, 50)
    row = {"questionId": 337, "question": "date?", "image": "documents/a_1.png", "docId": 279, "answers": ["1/8/93"]}
    json_file(tmp_path / "docvqa" / "val_v1.0.json", {"dataset_name": "docvqa", "data_split": "val", "data": [row]})
    (item,) = read("docvqa", tmp_path)
    assert (item.references, item.group, item.size) == (("1/8/93",), "279", (30, 50))
    save_picture(tmp_path / "infovqa" / "infographicsvqa_images" / "20.jpeg", 1, 30, 50)
    row = {"questionId": 1, "question": "how many?", "image_local_name": "20.jpeg", "answers": ["3"]}
    json_file(tmp_path / "infovqa" / "infographicsVQA_val_v1.0_withQT.json", {"dataset_name": "i", "data": [row]})
    assert read("infovqa", tmp_path)[0].size == (30, 50)
    save_picture(tmp_path / "textvqa" / "train_images" / "x.jpg", 1, 30, 50)
    row = {"question_id": 5, "question": "Brand?", "image_id": "x", "answers": ["nokia"] * 10}
    json_file(tmp_path / "textvqa" / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [row]})
    (item,) = read("textvqa", tmp_path)
    assert (item.group, item.size) == ("x", (30, 50))


@pytest.mark.parametrize(("name", "folder"), [("docvqa", "DocVQA"), ("infovqa", "InfographicVQA")])
def test_a_test_split_becomes_a_submission_and_never_a_score(name: str, folder: str, tmp_path):
    rows = [
        {"questionId": str(57000 + n), "question": "date?", "answers": None, "docId": n, "image": cell(n, 40, 60)}
        for n in range(4)
    ]
    parquet(tmp_path / name / folder / "test-00000-of-00001.parquet", rows)
    items = read(name, tmp_path, split="test")
    assert [item.references for item in items] == [()] * 4
    kept = [Prediction(item.key, "", "", f"a{n}", (), 9, "stop") for n, item in enumerate(items)]
    kept[3] = replace(kept[3], answer="a3", error="unreadable")
    report = summary({name: kept}, {name: items}, "paper")
    assert report.scores == [] and report.details == [] and report.constants == {}
    assert report.categories["text_rich"].value is None and name in report.categories["text_rich"].missing
    handed_in = [{"questionId": 57000 + n, "answer": f"a{n}" if n < 3 else ""} for n in range(4)]
    assert report.submissions == {name: {f"{name}-test.json": handed_in}}
    assert pick_examples(report) == [] and results_json(report)["scores"] == []


def test_a_run_over_a_test_split_writes_what_is_to_be_handed_in(tmp_path):
    rows = [
        {"questionId": str(57000 + n), "question": "date?", "answers": None, "docId": n, "image": cell(n, 40, 60)}
        for n in range(4)
    ]
    parquet(tmp_path / "docvqa" / "test-00000-of-00001.parquet", rows)
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    processor = Processor(config, train_tokenizer(["what is the date?"], SPECIALS))
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    out = tmp_path / "out"
    request = Request(str(tmp_path), ("docvqa",), changes=("docvqa.split=test",), partial=True)
    report = evaluate(model, processor, request, out)
    answers = [prediction.answer for prediction in report.predictions["docvqa"]]
    file = out / "submissions" / "docvqa-test.json"
    handed_in = [{"questionId": 57000 + n, "answer": answer} for n, answer in enumerate(answers)]
    assert json.loads(file.read_text()) == handed_in and any(answers)
    assert json.loads((out / "results.json").read_text())["submissions"] == {"docvqa": ["docvqa-test.json"]}
    file.unlink()
    told = launch(Job("", request, str(out), rescore=True))
    line = f"docvqa: not scored, its right answers are secret; submission written: {file}"
    assert told is not None and line in told.text
    assert json.loads(file.read_text()) == handed_in
    assert "Not scored, to be handed in: docvqa (docvqa-test.json)" in (out / "report.html").read_text()


def test_options_of_documents_are_checked(tmp_path):
    docvqa.write(tmp_path / "docvqa")
    with pytest.raises(ConfigError, match="split"):
        read("docvqa", tmp_path, split="train")
    with pytest.raises(DataError, match=r"no test\*\.parquet .* found DocVQA/validation"):
        read("docvqa", tmp_path, split="test")


def test_answers_must_be_there(tmp_path):
    row = {"questionId": "1", "question": "date?", "answers": [], "image": cell(1, 40, 60)}
    parquet(tmp_path / "docvqa" / "validation.parquet", [row])
    with pytest.raises(DataError, match="row 0: 'answers' must hold right answers, found"):
        read("docvqa", tmp_path)


def test_an_empty_answer_is_wrong_even_where_it_is_what_the_normaliser_leaves(tmp_path):
    textvqa.write(tmp_path / "textvqa", right=[["the"] * 10] * 4)
    items = read("textvqa", tmp_path)
    assert (
        item_values(find("textvqa"), [Prediction("k", "", "", "", (), 1, "stop")] * 4, items)
        == [{"vqa_accuracy": 0.0}] * 4
    )
    assert [module.ALWAYS[""] for module in (docvqa, infovqa, tabfact, wtq)] == [0.0] * 4
