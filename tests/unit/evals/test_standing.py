"""The page of an evaluation: radar, categories with their basis, other models, failure classes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Box, ImagePart, MediaRef
from mm15.evals.benchmark import find, known
from mm15.evals.categories import MINI, PAPER, category_scores, check_readings, mmbase
from mm15.evals.compare import compare
from mm15.evals.failures import failure, failures
from mm15.evals.items import question
from mm15.evals.paper import TOGETHER, paper_scores, sizes
from mm15.evals.predictions import Prediction
from mm15.evals.report import write_report
from mm15.evals.results import results_json, summary
from mm15.evals.standing import Other

NAMES = [name for rules in MINI.values() for name in rules["default"].members if isinstance(name, str)]


def asked(name: str, n: int = 4):
    picture = ImagePart(MediaRef(path="never-read.png"), 40, 24)
    return [
        question(name, number, [picture, "?"], Box(4, 4, 20, 20) if "ground" in name else "red") for number in range(n)
    ]


def answered(name: str, answers: list[str]) -> list[Prediction]:
    return [Prediction(f"{name}/{n}", "q", "h", answer, ("red",), 5, "stop") for n, answer in enumerate(answers)]


def test_categories_say_what_they_are_made_of():
    values = dict.fromkeys(NAMES, 50.0) | {"mini-words": 90.0}
    scores = category_scores("mini", values)
    assert scores["text_rich"].value == 60.0 and scores["text_rich"].members == tuple(NAMES[1:5])
    assert mmbase(scores) == pytest.approx((50 + 60 + 50) / 3)
    del values["mini-words"]
    scores = category_scores("mini", values)
    assert scores["text_rich"].value is None and scores["text_rich"].missing == ("mini-words",)
    assert mmbase(scores) is None
    assert category_scores("video", {"videomme": 40.0}) == {}


def test_the_family_of_refcoco_counts_every_split_once():
    members = PAPER["refer_ground"]["default"].members
    values = {"refcoco": 92.0, "refcoco-plus": 80.0, "refcocog": 86.0, "flickr30k": 85.0, "lvis-ref-box": 80.0,
              "lvis-ref-point": 60.0, "ferret-bench": 70.0}  # fmt: skip
    assert len(members) == 4
    score = category_scores("paper", values)["refer_ground"]
    assert score.value == pytest.approx(((2 * 92 + 2 * 80 + 86) / 5 + 85 + 70 + 70) / 4)
    assert score.basis == "inferred"
    del values["ferret-bench"]
    assert category_scores("paper", values)["refer_ground"].missing == ("ferret-bench",)
    other = category_scores("paper", values, {"refer_ground": "without-judged"})["refer_ground"]
    assert other.value == pytest.approx((86 + 85 + 70) / 3, abs=0.01) and other.reading == "without-judged"


def test_unknown_readings_are_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'without-judged'.*\n.*did you mean 'text_rich'"):
        check_readings({"general": "without-judge", "text_ritch": "default"})


def test_failure_classes():
    benchmark = find("mini-ground")
    scored = Prediction(
        "k/0", "q", "h", "dog", ("[1, 2, 3, 4]",), 5, "stop", scores={"acc_iou50": 0.0, "unparseable": 1}
    )
    assert failure(benchmark, scored) == "no readable box"
    assert failure(benchmark, replace(scored, error="gone")) == "picture not readable"
    words = find("mini-words")
    wrong = Prediction("k/0", "q", "h", "it says Red there", ("red",), 5, "stop", scores={"exact_match": 0.0})
    kinds = [
        wrong,
        replace(wrong, answer="blue"),
        replace(wrong, answer="blue", stop_reason="length"),
        replace(wrong, answer=""),
        replace(wrong, answer="red", scores={"exact_match": 1.0}),
        replace(wrong, scores={"exact_match": 0.4}),
    ]
    assert failures(words, kinds) == {
        "right": 1,
        "partly right": 1,
        "right answer inside other words": 1,
        "wrong answer": 1,
        "cut off at the longest answer": 1,
        "no answer": 1,
    }


def test_the_page_shows_another_model_and_what_is_missing(tmp_path):
    items = {name: asked(name) for name in NAMES}
    items.pop("mini-pairs")
    good = summary({name: answered(name, ["red"] * 4) for name in items}, items)
    half = summary({name: answered(name, ["red", "blue", "", "red"]) for name in items}, items)
    other = Other("before <b>", {"general": 50.0, "text_rich": None, "knowledge": 50.0, "refer_ground": 50.0,
                                 "multi_image": None}, compare(good.predictions, half.predictions))  # fmt: skip
    write_report(tmp_path / "page.html", "title", (), results_json(good), (), others=[other])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Against before &lt;b&gt;" in page and "before <b>" not in page
    assert "<polygon" in page and "<polyline" in page
    assert "+50.0" in page and "2 : 0" in page
    assert "mini-pairs" in page, "the member that the multi-image score lacks"
    assert results_json(half)["failures"]["mini-vqa"] == {"right": 2, "wrong answer": 1, "no answer": 1}


def test_numbers_of_an_unknown_size_are_refused(tmp_path):
    items = {"mini-vqa": asked("mini-vqa")}
    report = summary({"mini-vqa": answered("mini-vqa", ["red"] * 4)}, items)
    with pytest.raises(ConfigError, match="no size '4b'"):
        write_report(tmp_path / "page.html", "title", (), results_json(report), (), paper="4b")


def test_the_papers_numbers_are_of_benchmarks_and_of_its_sizes():
    assert sizes() == ["1b", "1b-moe", "3b", "3b-moe", "7b", "30b"]
    for size in sizes():
        unknown = paper_scores(size).keys() - {*known(), *TOGETHER}
        assert not unknown, f"{size}: {unknown}"
    three = paper_scores("3b")
    assert three["mme"].value == 64.2 and three["mme"].basis == "published"
    assert three["wtq"].basis == "recalled"
    knowledge = [three[name].value for name in ("ai2d", "scienceqa", "mmmu", "mathvista")]
    assert sum(knowledge) / 4 == 58.25, "the paper's knowledge average of the final 3B"
