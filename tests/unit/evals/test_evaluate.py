"""Whole evaluations: the real walk with the debug model, and answers put into its mouth."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mm15.base.errors import ConfigError, DataError
from mm15.evals.benchmark import find, known
from mm15.evals.items import written
from mm15.evals.report import StageSummary, pick_examples, write_report
from mm15.evals.request import Request
from mm15.evals.results import EvalReport, constant_answer, results_json, summary
from mm15.evals.run import evaluate
from mm15.generate.engine import Generation
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def processor() -> Processor:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    return Processor(config, train_tokenizer(["what is the color?"], SPECIALS))


@pytest.fixture(scope="module")
def model(processor: Processor) -> MultimodalModel:
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return model


def chat_row(question: str, answer: str, index: int, marks: str = "<image>", **fields) -> dict:
    images = [f"{index % 3}.png"] * marks.count("<image>")
    said = [{"from": "human", "value": f"{marks}\n{question}"}, {"from": "gpt", "value": answer}]
    return {"image": images, "width": [40] * len(images), "height": [24] * len(images), "conversations": said, **fields}


def boxed_row(index: int, asked: bool) -> dict:
    box = [2 + index, 3, 20 + index, 18]
    question, answer = ("What is <bbox_location0>?", "dog") if asked else ("Where?", "dog <bbox_location0>")
    row = chat_row(question, answer, index, box_x1y1x2y2=[[box], []] if asked else [[], [box]])
    return row | {"image_w": 40, "image_h": 24}


@pytest.fixture(scope="module")
def heldout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heldout")
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 255, (24, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    colors = ["red", "blue", "red", "red", "green", "blue"]
    files = {
        "general": [chat_row("What color?", color, n, task=f"t{n % 2}") for n, color in enumerate(colors)],
        "words": [chat_row("Read.", f"word{n}", n) for n in range(4)],
        "kv": [chat_row("Total?", f"{n} kg", n) for n in range(4)],
        "pages": [chat_row("Title?", f"Annual report {n}", n) for n in range(4)],
        "charts": [chat_row("Value?", str(100 * n + 100), n) for n in range(4)],
        "science": [chat_row("A or B?", "AB"[n % 2], n) for n in range(4)],
        "math": [chat_row("Sum?", str(n), n, marks="") for n in range(4)],
        "refer": [boxed_row(n, asked=True) for n in range(4)],
        "ground": [boxed_row(n, asked=False) for n in range(4)],
        "refer_unseen": [boxed_row(n, asked=True) for n in range(4)],
        "ground_unseen": [boxed_row(n, asked=False) for n in range(4)],
        "pairs": [chat_row("Same?", ["yes", "no"][n % 2], n, marks="<image><image>") for n in range(4)],
        "in_context": [chat_row("Name?", f"tazu{n}", n, "<image>" * 3, told=["tazu0", "bomi"]) for n in range(4)],
        "in_context_control": [chat_row("Name?", f"tazu{n}", n) for n in range(4)],
        "video": [chat_row("Which way?", ["left", "right"][n % 2], n, "<image>" * 4) for n in range(4)],
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def answer_with(monkeypatch, say) -> None:
    """Put answers into the model's mouth: ``say(key)``."""

    def generate(model, processor, samples, max_new_tokens, **more):
        return [Generation((1, 2), say(sample.key), "stop") for sample in samples]

    monkeypatch.setattr("mm15.evals.run.generate", generate)


@pytest.fixture(scope="module")
def untrained(model, processor, heldout, tmp_path_factory) -> tuple[EvalReport, Path]:
    out = tmp_path_factory.mktemp("out")
    return evaluate(model, processor, Request(str(heldout)), out=out), out


def test_the_real_walk_keeps_every_answer(untrained, heldout):
    report, out = untrained
    assert [score.benchmark for score in report.scores] == known("mini")
    assert report.missing == []
    files = sorted((out / "predictions").iterdir())
    assert [file.name for file in files] == sorted(f"{name}.jsonl" for name in known("mini")), "no parts are left"
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert len(lines) == 6 + 14 * 4
    assert len({line["key"] for line in lines}) == len(lines)
    assert {line["decode"] for line in lines if line["key"].startswith("mini-vqa")} == {
        "greedy, float32, at most 32 tokens"
    }
    assert all(line["scorer"] and line["scores"] for line in lines)
    assert len({line["prompt_hash"] for line in lines}) > 20
    assert all(line["tokens"] > 0 and line["error"] == "" for line in lines)
    saved = json.loads((out / "results.json").read_text())
    assert saved == results_json(report)
    assert {score["n"] for score in saved["scores"]} == {4, 6}
    assert set(saved["fixed"]) == set(known("mini")), "whether the questions are those that everybody is asked"
    assert saved["fixed"]["mini-vqa"] == "6 rows, the fixed file has 320"
    assert all(score["untrained"] is None for score in saved["scores"])


def test_perfect_answers_score_100_everywhere(monkeypatch, untrained, model, processor, heldout):
    right = {item.key: written(item.references[0], item) for items in untrained[0].items.values() for item in items}
    answer_with(monkeypatch, lambda key: f" {right[key]}\n")
    lines: list[str] = []
    report = evaluate(model, processor, Request(str(heldout)), progress=lines.append)
    assert {score.value for score in report.scores} == {100.0}
    assert {score.value for score in report.categories.values()} == {100.0}
    assert report.mmbase == 100.0
    assert any(re.fullmatch(r"mini-words: 4/4 answered, .* items/s, 0 s left", line) for line in lines)
    before = results_json(report, untrained[0])["scores"][0]
    assert before["untrained"] == round(untrained[0].scores[0].value, 2)


def test_empty_answers_score_0_everywhere(monkeypatch, model, processor, heldout):
    answer_with(monkeypatch, lambda key: "")
    report = evaluate(model, processor, Request(str(heldout)))
    assert {score.value for score in report.scores} == {0.0}
    assert report.mmbase == 0.0
    unparseable = {score.benchmark: score.value for score in report.details if score.metric == "unparseable"}
    assert unparseable == {"mini-ground": 100.0, "mini-ground-unseen": 100.0}


def test_constant_answers(untrained):
    constants = untrained[0].constants
    assert (constants["mini-vqa"].answer, constants["mini-vqa"].value) == ("red", 50.0)
    assert constants["mini-pairs"].value == 50.0
    assert constants["mini-refer"].value == 100.0, "they are all dogs here"
    assert constants["mini-ground"].value == 100.0, "one box in the middle meets all four"
    assert constants["mini-words"].value == 25.0
    assert constant_answer(find("mini-math"), untrained[0].items["mini-math"]).value == 25.0


def test_scores_by_task(untrained):
    metrics = [score.metric for score in untrained[0].details if score.benchmark == "mini-vqa"]
    assert metrics == ["exact_match (t0)", "exact_match (t1)"]
    assert {score.n for score in untrained[0].details if score.benchmark == "mini-vqa"} == {3}


def test_categories_average_what_counts_and_are_empty_while_one_is_missing(monkeypatch, model, processor, heldout):
    answer_with(monkeypatch, lambda key: "dog" if key.startswith("mini-refer/") else "")
    report = evaluate(model, processor, Request(str(heldout)))
    assert report.categories["refer_ground"].value == 50.0, "mini-refer 100, mini-ground 0; the unseen ones stay apart"
    part = evaluate(
        model,
        processor,
        Request(
            str(heldout),
            (
                "mini-refer",
                "mini-vqa",
            ),
        ),
    )
    values = {name: score.value for name, score in part.categories.items()}
    assert values == {name: 0.0 if name == "general" else None for name in part.categories}
    assert part.mmbase is None
    assert part.categories["refer_ground"].missing == ("mini-ground",)
    assert part.missing == [], "what was asked for is there"


def test_an_unreadable_picture_is_wrong_and_stays_in_n(model, processor, heldout, tmp_path):
    rows = [json.loads(line) for line in (heldout / "general.jsonl").read_text().splitlines()][:3]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes((heldout / name).read_bytes())
    (tmp_path / "1.png").write_bytes(b"not a picture")
    report = evaluate(model, processor, Request(str(tmp_path), ("mini-vqa",)))
    assert report.scores[0].n == 3
    kept = report.predictions["mini-vqa"]
    assert [bool(prediction.error) for prediction in kept] == [False, True, False]
    assert "1.png" in kept[1].error
    assert kept[1].scores == {"exact_match": 0.0}
    assert results_json(report)["scores"][0]["errors"] == 1


def test_every_question_is_answered_exactly_once_or_nothing_is_scored(untrained):
    report = untrained[0]
    kept = report.predictions["mini-math"]
    items = {"mini-math": report.items["mini-math"]}
    with pytest.raises(DataError, match=r"1 questions were not.*mini-math/4 \(asked 1, answered 0 times\)"):
        summary({"mini-math": kept[:-1]}, items)
    with pytest.raises(DataError, match=r"mini-math/1 \(asked 1, answered 2 times\)"):
        summary({"mini-math": [*kept, kept[0]]}, items)
    with pytest.raises(DataError, match=r"mini-math/x \(asked 0, answered 1 times\)"):
        summary({"mini-math": [*kept, replace(kept[0], key="mini-math/x")]}, items)


def test_wrong_requests_are_named(model, processor, heldout, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'mini-vqa'"):
        evaluate(model, processor, Request(str(heldout), ("mini-vqaa",)))
    with pytest.raises(DataError, match=r"mini-vqa \(expected .*general\.jsonl"):
        evaluate(model, processor, Request(str(tmp_path), ("mini-vqa",)))
    with pytest.raises(DataError, match=r"mini-words \(expected"):
        evaluate(model, processor, Request(str(tmp_path)))


def test_answers_do_not_depend_on_the_batch(model, processor, heldout, untrained):
    report = evaluate(
        model,
        processor,
        Request(
            str(heldout),
            (
                "mini-vqa",
                "mini-pairs",
            ),
        ),
        batch_tokens=1,
    )
    for name in ("mini-vqa", "mini-pairs"):
        assert report.predictions[name] == untrained[0].predictions[name]


def test_the_report_shows_best_and_worst_with_boxes_and_escapes_answers(
    monkeypatch, model, processor, heldout, tmp_path, untrained
):
    hostile = '<script>alert(1)</script> dog [100, 200, 500, 600] <img src="x">'
    right = {item.key: written(item.references[0], item) for items in untrained[0].items.values() for item in items}
    answer_with(monkeypatch, lambda key: right[key] if key.endswith("/1") else hostile)
    report = evaluate(model, processor, Request(str(heldout)))
    examples = pick_examples(report, best=1, worst=1)
    assert [example.benchmark for example in examples[::2]] == known("mini")
    best = next(example for example in examples if example.benchmark == "mini-vqa")
    assert (best.score, best.prediction.key) == (1.0, "mini-vqa/1")
    log = [{"step": n, "loss": 4.0 / n, "categories": {"general": 4.0 / n, "ocr": 3.0}} for n in range(1, 9)]
    shares = [{"group": "g", "source": "<b>words</b>", "size": 10, "share": 0.25, "draws": 5.0, "epochs": 0.5}]
    stages = [StageSummary("sft", [*log, {"step": 8, "eval": 1}, {"step": 9, "loss": None}], shares, 75.0)]
    path = tmp_path / "report.html"
    write_report(path, "A <run>", stages, results_json(report, untrained[0]), examples, ["a note & more"], processor)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "A &lt;run&gt;" in page
    assert "a note &amp; more" in page
    assert "Not the fixed mini suite, not comparable with other runs: mini-vqa (6 rows, the fixed file has 320)" in page
    assert "&lt;b&gt;words&lt;/b&gt;" in page
    assert "8 steps in 1.2 min, loss 0.500" in page
    assert page.count("data:image/jpeg") >= 20
    assert 'stroke="#30d158"' in page, "a reference box"
    assert 'x="4.0" y="4.8" width="16.0"' in page, "the predicted box, in pixels"
    assert "sub-images" in page
    assert torch.get_default_dtype() == torch.float32


def test_reading_and_answering_are_counted_apart(monkeypatch, model, processor, heldout):
    ticks = iter(range(10_000))
    monkeypatch.setattr("mm15.evals.run.time.perf_counter", lambda: next(ticks))
    report = evaluate(model, processor, Request(str(heldout), ("mini-vqa",)), batch_tokens=1)
    speed = report.speeds["mini-vqa"]
    assert (speed.items, speed.reading, speed.answering) == (6, 6, 6), "one tick each: neither holds the other"
