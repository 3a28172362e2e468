"""Template: what is laid out where, and exactly which tokens are trained."""

from __future__ import annotations

import pytest

from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import (
    Box,
    ImagePart,
    MediaRef,
    Message,
    RegionPart,
    Role,
    TextPart,
    VideoPart,
    assistant,
    document,
    user,
)
from mm15.text.template import (
    CHATML,
    SPECIALS,
    ImageSpan,
    TemplateConfig,
    TextSpan,
    Turn,
    asked,
    check_template,
    layout,
)
from mm15.text.tokenizer import Tokenizer, train_tokenizer

OURS = TemplateConfig()
PICTURE = ImagePart(MediaRef(path="<|image|><|end|>.png"), 40, 30)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some text"], SPECIALS)


@pytest.fixture(scope="module")
def chatml_tokenizer() -> Tokenizer:
    return train_tokenizer(["some text"], ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"])


def shown(messages, template: TemplateConfig, tokenizer: Tokenizer, answering: bool = False) -> tuple[str, str]:
    """(everything as text, only what is trained); pictures as {k}."""
    spans = layout(messages, template, tokenizer, lambda region: f"[{region.image}]", answering)
    text = [f"{{{s.image}}}" if isinstance(s, ImageSpan) else tokenizer.decode(s.ids, False) for s in spans]
    trained = [tokenizer.decode(s.ids, False) for s in spans if isinstance(s, TextSpan) and s.trained]
    return "".join(text), "".join(trained)


def test_turns(tokenizer: Tokenizer) -> None:
    messages = [
        Message(Role.SYSTEM, (TextPart("Be kind."),)),
        user(PICTURE, "What is ", RegionPart(Box(1, 2, 3, 4)), "?"),
        assistant("A dog."),
        user("And ", PICTURE, PICTURE, " there?"),
        assistant("A cat."),
    ]
    text, trained = shown(messages, OURS, tokenizer)
    assert text == (
        "<|bos|><|system|>Be kind.<|user|>{0}What is [0]?<|assistant|>A dog.<|end|>"
        "<|user|>And {1}{2} there?<|assistant|>A cat.<|end|>"
    )
    assert trained == "A dog.<|end|>A cat.<|end|>"


def test_chatml(chatml_tokenizer: Tokenizer) -> None:
    messages = [user(PICTURE, "Who?"), assistant("Me.")]
    text, trained = shown(messages, CHATML, chatml_tokenizer)
    assert text == "<|im_start|>user\n{0}Who?<|im_end|>\n<|im_start|>assistant\nMe.<|im_end|>\n"
    assert trained == "Me.<|im_end|>"
    text, trained = shown(messages, CHATML, chatml_tokenizer, answering=True)
    assert text == "<|im_start|>user\n{0}Who?<|im_end|>\n<|im_start|>assistant\n"
    assert trained == ""
    text, trained = shown([document("Once.")], CHATML, chatml_tokenizer)
    assert text == trained == "Once.<|endoftext|>"


def test_documents_are_trained_whole(tokenizer: Tokenizer) -> None:
    messages = [document("Before ", PICTURE, " after."), document(PICTURE, "More.")]
    text, trained = shown(messages, OURS, tokenizer)
    assert text == "<|bos|>Before {0} after.<|end|>{1}More.<|end|>"
    assert trained == "Before  after.<|end|>More.<|end|>"


def test_an_open_document_is_continued(tokenizer: Tokenizer) -> None:
    text, trained = shown([document(PICTURE, "One."), document(PICTURE)], OURS, tokenizer, answering=True)
    assert text == "<|bos|>{0}One.<|end|>{1}"
    assert trained == ""


def test_untrained_turns_are_not_trained(tokenizer: Tokenizer) -> None:
    shot = Message(Role.ASSISTANT, (TextPart("Four."),), trained=False)
    _, trained = shown([user("2 + 2?"), shot, user("3 + 3?"), assistant("Six.")], OURS, tokenizer)
    assert trained == "Six.<|end|>"


def test_answering_drops_what_follows_the_last_question(tokenizer: Tokenizer) -> None:
    messages = [user("A?"), assistant("B."), user("C?", PICTURE), assistant("D."), assistant("E.")]
    assert asked(messages) == tuple(messages[:3])
    text, trained = shown(messages, OURS, tokenizer, answering=True)
    assert text == "<|bos|><|user|>A?<|assistant|>B.<|end|><|user|>C?{0}<|assistant|>"
    assert trained == ""


def test_parts_do_not_change_tokens(tokenizer: Tokenizer) -> None:
    whole, split = [user("<|end|>?"), assistant("ab")], [user("<|e", "nd|", ">?"), assistant("a", "b")]
    assert layout(whole, OURS, tokenizer, str) == layout(split, OURS, tokenizer, str)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", SPECIALS)
def test_no_role_can_type_a_special_token(role: Role, name: str, tokenizer: Tokenizer) -> None:
    half = len(name) // 2
    casings = f"{name}{name.upper()}{name.title()} {name[:3]}\u200d{name[3:]}"
    typed = (TextPart(name[:half]), TextPart(name[half:]), PICTURE, TextPart(casings))
    plain = (TextPart("x"), PICTURE, TextPart("y"))
    found = []
    for parts in (typed, plain):
        spans = layout([Message(role, parts), assistant("ok")], OURS, tokenizer, str)
        ids = [index for span in spans if isinstance(span, TextSpan) for index in span.ids]
        found.append([index for index in ids if index in tokenizer.specials.values()])
        assert [span for span in spans if isinstance(span, ImageSpan)] == [ImageSpan(0)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no turn is trained"),
        ([user("Hi")], "no turn is trained"),
        ([user("Hi"), assistant(" \n")], r"turn 1 \(assistant\) is trained on but has no text"),
        ([document(PICTURE)], r"turn 0 \(document\) is trained on but has no text"),
    ],
)
def test_samples_that_cannot_be_used(messages, reason: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(SkipSample, match=reason):
        layout(messages, OURS, tokenizer, str)


def test_every_frame_of_a_clip_is_a_picture_in_its_place(tokenizer: Tokenizer) -> None:
    clip = VideoPart(MediaRef(path="a.gif"), 3)
    spans = layout([user(PICTURE, "x", clip, PICTURE), assistant("ok")], OURS, tokenizer, str)
    assert [span.image for span in spans if isinstance(span, ImageSpan)] == [0, 1, 2, 3, 4]


def test_nothing_to_answer(tokenizer: Tokenizer) -> None:
    with pytest.raises(SkipSample, match="no user turn"):
        layout([assistant("Hi")], OURS, tokenizer, str, answering=True)


def test_a_template_is_checked_against_the_tokenizer(tokenizer: Tokenizer, chatml_tokenizer: Tokenizer) -> None:
    check_template(OURS, tokenizer)
    check_template(CHATML, chatml_tokenizer)
    wrong = TemplateConfig(bos="<|boss|>", user=Turn(prefix="<|usr|>"), assistant=Turn(prefix="A: ", end=""))
    with pytest.raises(ConfigError) as caught:
        check_template(wrong, tokenizer)
    assert len(caught.value.problems) == 3
    assert "did you mean '<|bos|>'" in str(caught.value) and "did you mean '<|user|>'" in str(caught.value)
