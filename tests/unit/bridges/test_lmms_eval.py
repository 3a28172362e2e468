"""lmms-eval's contract with its models, with its base class in miniature. The real one: ``tests/bridges``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bridge_fixture import FakeLmms, FakeManifest, FakeResult, Request, Warnings, debug_bundle, put_module
from mm15.base.errors import ConfigError, DataError
from mm15.bridges.answers import Question, log_likelihoods
from mm15.generate.chat import Chat

ROWS = [
    {"question": f"Is there {n}?", "image": Image.fromarray(np.full((20 + n, 30, 3), 20 * n, np.uint8))}
    for n in range(5)
]


@pytest.fixture(scope="module")
def logged() -> Warnings:
    return Warnings()


@pytest.fixture(scope="module")
def bridge(logged):
    """The module, imported over the miniature."""
    with pytest.MonkeyPatch.context() as patch:
        put_module(patch, "lmms_eval.api.model", lmms=FakeLmms)
        put_module(patch, "lmms_eval.api.instance", GenerationResult=FakeResult)
        put_module(patch, "lmms_eval.models.registry_v2", ModelManifest=FakeManifest)
        put_module(patch, "loguru", logger=logged)
        patch.delitem(sys.modules, "mm15.bridges.lmms_eval", raising=False)
        patch.delitem(sys.modules, "mm15.bridges.lmms_manifest", raising=False)
        yield importlib.import_module("mm15.bridges.lmms_eval")
        for name in ("mm15.bridges.lmms_eval", "mm15.bridges.lmms_manifest"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def model(bridge, tmp_path_factory):
    made = bridge.MM15(
        bundle=str(debug_bundle(tmp_path_factory.mktemp("model") / "bundle")), batch_tokens=200, batch_size=1
    )
    made.task_dict["task"] = {"test": ROWS}
    return made


@pytest.fixture(scope="module")
def simple(bridge, model):
    made = bridge.MM15Simple.__new__(bridge.MM15Simple)
    made.__dict__.update(model.__dict__)
    return made


def messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "role": "user",
            "content": [{"type": "image", "url": row["image"]}, {"type": "text", "text": row["question"]}],
        }
    ]


def ask(number: int, doc_to_messages=messages, **arguments: Any) -> Request:
    return Request(("context", doc_to_messages, {"max_new_tokens": 6, **arguments}, number, "task", "test"))


def test_the_manifest_names_classes_of_the_right_kind(bridge):
    told = importlib.import_module("mm15.bridges.lmms_manifest").manifest()
    assert told.model_id == "mm15"
    for path, is_simple in ((told.chat_class_path, False), (told.simple_class_path, True)):
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        assert issubclass(found, FakeLmms) and found.is_simple is is_simple


def test_answers_come_in_the_order_of_requests_and_are_those_of_chat(model):
    chat = Chat(model.bundle)
    wanted = [
        chat.ask(row["question"], [row["image"]], max_new_tokens=most).text.strip()
        for row, most in zip(ROWS, (6, 3, 6, 3, 6), strict=True)
    ]
    requests = [ask(number, max_new_tokens=most) for number, most in enumerate((6, 3, 6, 3, 6))]
    assert model.generate_until(requests) == wanted and len(set(wanted)) > 1
    assert model.generate_until(requests[::-1]) == wanted[::-1]


def test_the_simple_interface_asks_the_same(model, simple):
    requests = [
        Request((row["question"], {"max_new_tokens": 6}, lambda row: [row["image"]], number, "task", "test"))
        for number, row in enumerate(ROWS)
    ]
    assert simple.generate_until(requests) == model.generate_until([ask(number) for number in range(5)])
    words = Request(("Is there a dog?", {"max_new_tokens": 6}, lambda row: None, 0, "task", "test"))
    assert simple.generate_until([words]) == [Chat(model.bundle).ask("Is there a dog?", max_new_tokens=6).text.strip()]


@pytest.mark.parametrize(
    ("given", "temperature", "top_p", "until"),
    [
        ({}, 0, 1, ()),
        ({"temperature": 0, "top_p": None, "do_sample": False, "num_beams": 1, "until": "\n"}, 0, 1, ("\n",)),
        ({"temperature": 0.0, "top_p": 0, "until": ["\n\n", "."]}, 0, 1, ("\n\n", ".")),
        ({"temperature": 0.7, "do_sample": False, "until": []}, 0, 1, ()),
        ({"temperature": 0.7, "top_p": 0.9, "until": None}, 0.7, 0.9, ()),
        ({"do_sample": True}, 1.0, 1, ()),
        ({"do_sample": True, "temperature": 0.5, "top_k": 1}, 0, 1, ()),
    ],
)
def test_generation_arguments(model, given, temperature, top_p, until):
    settings = model._settings(given, "task/test/0")
    assert (settings.sampling.temperature, settings.sampling.top_p) == (temperature, top_p)
    assert settings.until == until and settings.max_new_tokens == 256


def test_arguments_that_cannot_be_honoured_stop_with_what_to_pass(model):
    with pytest.raises(ConfigError) as raised:
        model.generate_until([ask(0, num_beams=3, repetition_penalty=1.2, do_sample=True, top_k=20)])
    assert raised.value.where == "task/test/0"
    assert [problem.split(" ")[0] for problem in raised.value.problems] == [
        "num_beams=3",
        "repetition_penalty=1.2",
        "top_k=20",
    ]
    assert "--gen_kwargs num_beams=1" in str(raised.value)


def test_a_row_asked_several_times_is_drawn_several_times(model):
    first = model.generate_until([ask(0, temperature=1.0)] * 3)
    assert len(set(first)) == 3
    assert model.generate_until([ask(0, temperature=1.0)] * 3) == first
    assert len(set(model.generate_until([ask(0)] * 3))) == 1


def test_until_cuts_each_answer(model):
    (whole,) = model.generate_until([ask(0, max_new_tokens=10)])
    assert model.generate_until([ask(0, max_new_tokens=10, until=[whole[4:6]])]) == [
        whole[: whole.index(whole[4:6])].strip()
    ]


@pytest.mark.parametrize(
    ("visual", "kind"), [("clip.mp4", "video"), ("a.wav", "audio"), ({"type": "video", "url": "c.mp4"}, "video")]
)
def test_clips_and_sounds_are_refused_by_name(model, simple, visual, kind):
    def clip(row):
        return [{"role": "user", "content": [{"type": kind, "url": visual}, {"type": "text", "text": "What?"}]}]

    with pytest.raises(DataError, match=f"task/test/1: a question with {kind}"):
        model.generate_until([ask(0), ask(1, clip)])
    with pytest.raises(DataError, match=f"task/test/1: a question with {kind}"):
        simple.generate_until([Request(("What?", {}, lambda row: [visual], 1, "task", "test"))])


def test_plain_text_content_and_pictures_by_name(model, tmp_path):
    ROWS[2]["image"].save(tmp_path / "2.png")

    def by_name(row):
        return [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "image", "url": str(tmp_path / "2.png")}]},
        ]

    assert model.generate_until([ask(2, by_name)])[0]


def test_unreadable_rows_are_logged_and_answered_with_nothing(model, logged, tmp_path):
    def gone(row):
        return [{"role": "user", "content": [{"type": "image", "url": str(tmp_path / "gone.png")}]}]

    assert model.generate_until([ask(0), ask(1, gone)])[1] == ""
    assert logged.lines and "task/test/1" in logged.lines[-1] and "gone.png" in logged.lines[-1]


def test_likelihoods_with_and_without_a_row(simple):
    def visual(row):
        return [row["image"]]

    (greedy,) = simple.generate_until([Request(("Well?", {"max_new_tokens": 3}, visual, 0, "task", "test"))])
    requests = [Request(("Well?", f" {text}", visual, 0, "task", "test")) for text in ("yes", "no", greedy)]
    by_function = Request(("Well?", lambda row: row["question"], visual, 3, "task", "test"))
    found = [result.text for result in simple.loglikelihood([*requests, by_function, Request(("", "yes"))])]
    assert all(loss > 0 for loss, _ in found) and [greedy for _, greedy in found[:3]] == [False, False, True]
    question = Question("any/key", (("user", (("image", ROWS[0]["image"]), ("text", "Well?"))),))
    ((chance, _),) = log_likelihoods(simple.bundle, [(question, "yes")])
    assert found[0][0] == pytest.approx(-chance, rel=1e-5) and found[0][0] != pytest.approx(found[4][0])
    (result,) = simple.loglikelihood([Request(("Well?", "Is there 3?", visual, 3, "task", "test"))])
    assert found[3][0] == pytest.approx(result.text[0], rel=1e-5)


def test_tasks_of_several_rounds_are_refused(model):
    with pytest.raises(ConfigError, match="several rounds are not answered; leave them out: task"):
        model.generate_until_multi_round([ask(0), ask(1)])
