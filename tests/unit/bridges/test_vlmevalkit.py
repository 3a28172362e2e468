"""VLMEvalKit's contract with its models, with its base class in miniature. The real one: ``tests/bridges``."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from bridge_fixture import FakeBaseModel, debug_bundle, put_module
from mm15.base.errors import DataError
from mm15.generate.chat import Chat

TABLE: dict = {}
RUNS: list[list[str]] = []


@pytest.fixture(scope="module")
def bridge():
    with pytest.MonkeyPatch.context() as patch:
        put_module(patch, "vlmeval.vlm.base", BaseModel=FakeBaseModel)
        put_module(patch, "vlmeval.config", supported_VLM=TABLE)
        put_module(patch, "vlmeval.run", main=lambda: RUNS.append(sys.argv))
        patch.delitem(sys.modules, "mm15.bridges.vlmevalkit", raising=False)
        yield importlib.import_module("mm15.bridges.vlmevalkit")
        sys.modules.pop("mm15.bridges.vlmevalkit", None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    return str(debug_bundle(tmp_path_factory.mktemp("model") / "bundle"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    names = [str(folder / f"{n}.png") for n in range(2)]
    for n, name in enumerate(names):
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (24, 40 + n, 3), dtype=np.uint8)).save(name)
    return names


def test_messages_are_asked_in_their_order(bridge, bundle, pictures):
    model = bridge.MM15(bundle, max_new_tokens=8)
    assert model.INTERLEAVE
    chat = Chat(model.bundle)
    pair = [{"type": "image", "value": name} for name in pictures]
    said = model.generate([*pair, {"type": "text", "value": "Same?"}], "BLINK")
    assert isinstance(said, str) and said == chat.ask("Same?", pictures, max_new_tokens=8).text.strip()
    mixed = [{"type": "text", "value": "First"}, pair[0], {"type": "text", "value": "then"}, pair[1]]
    assert model.generate(mixed) != said
    words = model.generate([{"type": "text", "value": "Is there a dog?"}])
    assert words == chat.ask("Is there a dog?", max_new_tokens=8).text.strip()


def test_roles_make_turns(bridge, bundle):
    model = bridge.MM15(bundle, max_new_tokens=8)
    asked = {"type": "text", "value": "Is there a dog?"}
    told = {"role": "system", "type": "text", "value": "Be short."}
    assert model.generate([told, asked]) != model.generate([asked])
    with pytest.raises(DataError, match=r"MVBench/question: .*begun answers"):
        model.generate([asked, {"role": "assistant", "type": "text", "value": "Best Option: ("}], "MVBench")


def test_clips_are_refused_by_name(bridge, bundle):
    with pytest.raises(DataError, match=r"a question with video \(c.mp4\)"):
        bridge.MM15(bundle).generate([{"type": "video", "value": "c.mp4"}, {"type": "text", "value": "What?"}])


def test_the_launcher_enters_the_bundle_and_runs(bridge, bundle, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest"])
    bridge.main([bundle, "--data", "POPE", "--mode", "infer"])
    assert RUNS == [["vlmeval", "--model", "mm15", "--data", "POPE", "--mode", "infer"]]
    assert isinstance(TABLE["mm15"](), bridge.MM15)
    bridge.register(bundle, "mine", max_new_tokens=3)
    assert TABLE["mine"]().settings.max_new_tokens == 3
