"""The same answers and numbers however an evaluation ran: interrupted, on two ranks, in other batches, scored again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import ConfigError, DataError, Interrupted
from mm15.bundle import save_bundle
from mm15.evals import run
from mm15.evals.launch import Job, launch
from mm15.evals.request import Request
from mm15.evals.run import evaluate
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer

N = 11


@pytest.fixture(scope="module")
def processor() -> Processor:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    return Processor(config, train_tokenizer(["what is the color?"], SPECIALS))


@pytest.fixture(scope="module")
def model(processor: Processor) -> MultimodalModel:
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return model


@pytest.fixture(scope="module")
def bundle(model, processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    save_bundle(folder, model, processor)
    return folder


@pytest.fixture(scope="module")
def request_(tmp_path_factory) -> Request:
    folder = tmp_path_factory.mktemp("heldout")
    rows = []
    for n in range(N):
        pixels = np.random.default_rng(n).integers(0, 255, (24 + 3 * n, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        said = [{"from": "human", "value": "<image>\nWhat color?"}, {"from": "gpt", "value": "red"}]
        rows.append({"image": f"{n}.png", "conversations": said})
    for name in ("general", "words"):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Request(str(folder), ("mini-vqa", "mini-words"))


def answers(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((out / "predictions").iterdir())}


def numbers(out: Path) -> dict:
    return {name: value for name, value in json.loads((out / "results.json").read_text()).items() if name != "speed"}


@pytest.fixture(scope="module")
def straight(model, processor, request_, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    evaluate(model, processor, request_, out, batch_tokens=400)
    return out


def test_an_interrupted_evaluation_asks_only_what_is_missing(
    model, processor, request_, straight, tmp_path, monkeypatch
):
    asked: list[str] = []
    real = run.generate

    def stopping(model, processor, samples, *rest, **more):
        if len(asked) > N:
            raise KeyboardInterrupt
        asked.extend(sample.key for sample in samples)
        return real(model, processor, samples, *rest, **more)

    monkeypatch.setattr(run, "generate", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, processor, request_, tmp_path, batch_tokens=400)
    first = list(asked)
    assert N < len(first) < 2 * N
    assert not (tmp_path / "results.json").exists()
    monkeypatch.setattr(
        run, "generate", lambda *given, **more: asked.extend(s.key for s in given[2]) or real(*given, **more)
    )
    with pytest.raises(ConfigError, match="--resume"):
        evaluate(model, processor, request_, tmp_path, batch_tokens=400)
    report = evaluate(model, processor, request_, tmp_path, resume=True, batch_tokens=400)
    assert sorted(asked) == sorted({*asked}) and len(asked) == 2 * N, "none was asked twice"
    assert answers(tmp_path) == answers(straight)
    assert numbers(tmp_path) == numbers(straight)
    assert report.speeds["mini-vqa"].items == 0, "nothing was left of the first"


def test_another_model_or_request_is_not_mixed_in(model, processor, request_, straight):
    with pytest.raises(ConfigError, match="limit: was None, is 3"):
        evaluate(model, processor, replace(request_, limit=3), straight, resume=True)
    other = MultimodalModel(model.config)
    other.init_weights(seed=1)
    with pytest.raises(ConfigError, match=r"model: was '[0-9a-f]+', is '[0-9a-f]+'"):
        evaluate(other, processor, request_, straight, resume=True)


def test_other_batches_give_the_same(model, processor, request_, straight, tmp_path):
    evaluate(model, processor, request_, tmp_path, batch_tokens=1)
    assert answers(tmp_path) == answers(straight)


def test_two_ranks_give_the_same(bundle, request_, straight, tmp_path):
    outcome = launch(Job(str(bundle), request_, str(tmp_path), batch_tokens=400), ranks=2)
    assert outcome is not None
    assert answers(tmp_path) == answers(straight)
    assert numbers(tmp_path) == numbers(straight)
    assert (tmp_path / "report.html").is_file()


def test_scoring_again_gives_the_same_and_needs_every_answer(straight, request_):
    before = answers(straight), numbers(straight)
    outcome = launch(Job("", request_, str(straight), rescore=True))
    assert outcome is not None and (answers(straight), numbers(straight)) == before
    file = straight / "predictions" / "mini-words.jsonl"
    whole = file.read_bytes()
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"mini-words: 1 questions were not answered exactly once: mini-words/11"):
        launch(Job("", request_, str(straight), rescore=True))
    file.write_bytes(whole)


def test_ctrl_c_says_how_to_go_on(bundle, request_, tmp_path, monkeypatch):
    def stopping(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "generate", stopping)
    with pytest.raises(Interrupted, match=rf"kept in {tmp_path}\. Go on with the same command and --resume"):
        launch(Job(str(bundle), request_, str(tmp_path)))
