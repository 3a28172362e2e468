"""Turns of text and pictures → answers as ``mm15 eval`` and chat give them, and likelihoods of given answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bridge_fixture import debug_bundle
from mm15.base.batch import pack
from mm15.base.errors import DataError, SkipSample
from mm15.base.types import ImagePart, Role, Sample, TextPart
from mm15.bridges.answers import Question, Settings, answer, cut, log_likelihoods, open_bundle, to_sample
from mm15.bundle import Bundle
from mm15.generate.chat import Chat
from mm15.generate.sampling import Sampling


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return open_bundle(str(debug_bundle(tmp_path_factory.mktemp("model") / "bundle")))


def photo(seed: int = 0, width: int = 48, height: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def asked(*pieces, key: str = "task/0") -> Question:
    return Question(key, (("user", pieces),))


def parts(sample: Sample) -> list[str]:
    return [
        part.text if isinstance(part, TextPart) else "<image>" for message in sample.messages for part in message.parts
    ]


def test_pictures_that_open_a_turn_are_followed_by_a_line_break_and_nothing_else_is_added():
    one, two = photo(1), photo(2, 33, 50)
    assert parts(to_sample(asked(("image", one), ("image", two), ("text", "Same?")))) == [
        *["<image>"] * 2,
        "\nSame?",
    ]
    assert parts(to_sample(asked(("image", one), ("text", "\nSame?")))) == ["<image>", "\nSame?"]
    mixed = to_sample(asked(("text", "First "), ("image", one), ("text", "then"), ("image", two), ("text", "?")))
    assert parts(mixed) == ["First ", "<image>", "then", "<image>", "?"]
    assert [(part.width, part.height) for part in mixed.images] == [(48, 32), (33, 50)]


def test_turns_keep_their_roles():
    turns = (("system", (("text", "Be short."),)), ("user", (("text", "Hi"),)), ("assistant", (("text", "Yes"),)))
    sample = to_sample(Question("task/0", (*turns, ("user", (("image", photo()), ("text", "And now?"))))))
    assert [message.role for message in sample.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
    assert isinstance(sample.messages[-1].parts[0], ImagePart) and sample.source == "task"


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ((), "found no turn"),
        ((("user", (("text", "Hi"),)), ("assistant", (("text", "Best: ("),))), "begun answers cannot be continued"),
        (
            (("user", (("video", "clip.mp4"), ("text", "What?"))),),
            r"video \(clip.mp4\).*no clips or sound",
        ),
        ((("user", (("audio", "a.wav"),)),), "a question with audio"),
        ((("tool", (("text", "Hi"),)), ("user", (("text", "Hi"),))), "unknown role 'tool'"),
    ],
)
def test_refusals_name_the_question_and_are_no_skipped_rows(bundle, turns, problem):
    with pytest.raises(DataError, match=f"task/7: .*{problem}") as raised:
        answer(bundle, [Question("task/7", turns)], Settings(), print)
    assert not isinstance(raised.value, SkipSample)


def test_answers_are_those_of_chat_whatever_the_batch(bundle):
    questions = [
        asked(*[("image", photo(n, 40 + n, 30))] * (n % 3), ("text", f"Is there {n}?"), key=f"t/{n}") for n in range(5)
    ]
    said = [answer(bundle, questions, Settings(6), print, batch_tokens=tokens) for tokens in (100, 10_000)]
    assert said[0] == said[1]
    chat = Chat(bundle)
    replies = [
        chat.ask(f"Is there {n}?", [photo(n, 40 + n, 30)] * (n % 3), max_new_tokens=6).text.strip() for n in range(5)
    ]
    assert said[0] == replies and len(set(replies)) > 1


def test_a_file_a_picture_and_its_bytes_are_the_same_question(bundle, tmp_path: Path):
    photo().save(tmp_path / "a.png")
    forms = [photo(), str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()]
    said = answer(bundle, [asked(("image", form), ("text", "What?")) for form in forms], Settings(8), print)
    assert said[0] == said[1] == said[2] != ""


def test_a_question_that_cannot_be_asked_is_told_and_answered_with_nothing(bundle, tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    told: list[str] = []
    good = asked(("text", "Is there a dog?"), key="t/good")
    bad = asked(("image", str(tmp_path / "bad.png")), ("text", "What?"), key="t/bad")
    long = asked(("text", "very " * 600), key="t/long")
    alone = answer(bundle, [good], Settings(6), told.append)
    assert not told
    assert answer(bundle, [bad, good, long, good], Settings(6), told.append) == ["", *alone, "", *alone]
    assert [line.split(":")[0] for line in told] == ["t/bad", "t/long"]
    assert "bad.png" in told[0] and "max_tokens" in told[1]


def test_an_answer_ends_before_the_first_of_its_stops(bundle):
    assert cut("one\ntwo, three", (",", "\n", "")) == "one"
    assert cut("one", ("two",)) == "one" and cut("stop", ("stop",)) == ""
    question = asked(("text", "Is there a dog?"))
    (whole,) = answer(bundle, [question], Settings(8), print)
    stop = whole[3:5]
    (short,) = answer(bundle, [question], Settings(8, until=(stop,)), print)
    assert short == whole[: whole.index(stop)].strip() != whole


def test_draws_are_seeded_by_the_key(bundle):
    warm = Settings(8, Sampling(1.0, seed=3))
    keys = ["t/0", "t/0/2", "t/0"]
    said = answer(bundle, [asked(("text", "Well?"), key=key) for key in keys], warm, print)
    assert said[0] == said[2] != said[1]


def test_likelihoods_are_those_of_decoding_step_by_step(bundle):
    question = asked(("image", photo()), ("text", "Is there a dog?"))
    (greedy,) = answer(bundle, [question], Settings(3), print)
    said = [" yes ", "no", greedy]
    found = log_likelihoods(bundle, [(question, text) for text in said], batch_tokens=100)
    together = log_likelihoods(bundle, [(question, text) for text in said])
    assert [chance for chance, _ in found] == pytest.approx([chance for chance, _ in together])
    processor, model = bundle.processor, bundle.model
    for text, (chance, is_greedy) in zip(said, found, strict=True):
        prompt = processor.encode(to_sample(question), answering=True)
        cache = model.new_cache(1, prompt.num_tokens + 20)
        logits = model.prefill(pack([prompt], processor.image_token, processor.tokens_per_tile), cache)
        total, greedy_all = 0.0, True
        for token in processor.tokenizer.encode(text.strip()):
            logits[:, processor.image_token] = -math.inf
            total += float(logits.log_softmax(-1)[0, token])
            greedy_all &= int(logits.argmax()) == token
            logits = model.decode(torch.tensor([token]), cache)
        assert chance == pytest.approx(total, abs=1e-3) and is_greedy == greedy_all
    assert [is_greedy for _, is_greedy in found] == [False, False, True]


def test_no_likelihood_is_made_up(bundle, tmp_path: Path):
    with pytest.raises(DataError, match="task/0: an empty answer"):
        log_likelihoods(bundle, [(asked(("text", "Hi")), " ")])
    with pytest.raises(SkipSample, match=r"gone\.png"):
        log_likelihoods(bundle, [(asked(("image", str(tmp_path / "gone.png"))), "yes")])
