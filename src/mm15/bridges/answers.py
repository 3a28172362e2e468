"""What every harness wants of a bundle: answers to conversations, and how likely given answers are.

A harness hands over turns of text and pictures; they take the walk of training, evaluation and chat. Pictures that
open a user's turn are followed by a line break, as conversation data sets write it and as ``mm15 eval`` asks; nothing
else is added. Clips and sound are refused by name.

Legend: L positions with a label, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.errors import DataError, SkipSample
from mm15.base.types import Category, ImagePart, Message, Part, Role, Sample, TextPart
from mm15.bundle import Bundle, load_bundle
from mm15.generate.chat import picture_part
from mm15.generate.engine import BATCH_TOKENS, batches, generate
from mm15.generate.sampling import Sampling

TEXT, IMAGE = "text", "image"
GREEDY = Sampling()
Piece = tuple[str, Any]
"""``text`` and a string, or ``image`` and a file name, bytes or PIL image. Other kinds are refused."""


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation that ends with what is asked: (role, pieces) turn by turn. ``key`` names it and seeds draws."""

    key: str
    turns: tuple[tuple[str, tuple[Piece, ...]], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are made. An answer ends before the first of the strings ``until`` in it."""

    max_new_tokens: int = 256
    sampling: Sampling = GREEDY
    until: tuple[str, ...] = ()


def open_bundle(folder: str, device: str = "") -> Bundle:
    """A bundle on a device; without one on the first CUDA device, or on the CPU if there is none.

    Raises:
        BundleError: see ``load_bundle``.
    """
    return load_bundle(folder, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def to_sample(question: Question) -> Sample:
    """A question as a sample.

    Raises:
        DataError: no turns, a last turn that is not the user's, an unknown role, or a piece that is neither text nor
            picture.
        PictureError: a picture is refused.
    """
    if not question.turns or question.turns[-1][0] != Role.USER:
        found = question.turns[-1][0] if question.turns else "no turn"
        raise DataError(
            f"{question.key}: the last turn must be the user's, found {found}; begun answers cannot be continued"
        )
    messages = tuple(_message(role, pieces, question.key) for role, pieces in question.turns)
    return Sample(question.key, question.key.partition("/")[0], Category.GENERAL, messages)


def _message(role: str, pieces: Sequence[Piece], key: str) -> Message:
    if role not in (Role.SYSTEM, Role.USER, Role.ASSISTANT):
        raise DataError(f"{key}: unknown role '{role}'; known: system, user, assistant")
    parts: list[Part] = []
    for kind, value in pieces:
        if kind == IMAGE:
            parts.append(picture_part(value))
        elif kind != TEXT:
            raise DataError(
                f"{key}: a question with {kind} ({value}): bundles answer text and pictures, no clips or sound yet; "
                "leave the task out, or ask it with frames as pictures"
            )
        elif role == Role.USER and parts and all(isinstance(part, ImagePart) for part in parts):
            parts.append(TextPart(value if value.startswith("\n") else f"\n{value}"))
        else:
            parts.append(TextPart(value))
    return Message(Role(role), tuple(parts))


def answer(
    bundle: Bundle,
    questions: Iterable[Question],
    settings: Settings,
    told: Callable[[str], None],
    batch_tokens: int = BATCH_TOKENS,
) -> list[str]:
    """Answers in the order of the questions, without white space around them, as ``mm15 eval`` keeps them.

    Args:
        questions: read one by one, so that the pictures of a few batches are in memory at a time.
        told: called with a sentence for every question that cannot be asked (an unreadable picture, too many tokens);
            its answer is empty, which ``mm15 eval`` does likewise and counts as wrong.
        batch_tokens: places of the decoder's cache.

    Raises:
        DataError: see ``to_sample``.
    """
    said: list[str] = []
    places: list[int] = []

    def readable() -> Iterator[EncodedSample]:
        for place, question in enumerate(questions):
            said.append("")
            try:
                encoded = bundle.processor.encode(to_sample(question), answering=True)
            except SkipSample as error:
                told(f"{question.key}: answered with nothing, because {error}")
            else:
                places.append(place)
                yield encoded

    most, how = settings.max_new_tokens, settings.sampling
    done = 0
    for group in batches(readable(), most, batch_tokens):
        made = generate(bundle.model, bundle.processor, group, most, how.temperature, how.top_p, how.seed, batch_tokens)
        for place, generation in zip(places[done : done + len(group)], made, strict=True):
            said[place] = cut(generation.text, settings.until).strip()
        done += len(group)
    return said


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first place where one of the strings stands."""
    ends = [text.find(stop) for stop in until if stop and stop in text]
    return text[: min(ends)] if ends else text


@torch.inference_mode()
def log_likelihoods(
    bundle: Bundle, pairs: Iterable[tuple[Question, str]], batch_tokens: int = BATCH_TOKENS
) -> list[tuple[float, bool]]:
    """For every question and answer, the answer's log-probability (natural, summed over its tokens), and whether
    greedy decoding would say it. The end of the turn is not part of it, nor white space around it: the answer begins
    a turn, as in training.

    Raises:
        DataError: see ``to_sample``; an answer is empty.
        SkipSample: a question cannot be asked. No number would be honest, so none is made up.
    """
    found: list[tuple[float, bool]] = []
    model, image_token = bundle.model, bundle.processor.image_token
    device = next(model.parameters()).device
    for group in batches((_with_answer(bundle, *pair) for pair in pairs), 0, batch_tokens):
        batch = pack(group, image_token, bundle.processor.tokens_per_tile).to(device)
        output = model(batch)
        logits_LV = output.logits_LV.float()
        logits_LV[:, image_token] = -math.inf  # as in decoding: a picture cannot be said
        says_L = logits_LV.argmax(-1) == output.targets_L
        chances_L = logits_LV.log_softmax(-1).gather(1, output.targets_L[:, None])[:, 0]
        lengths = [int((sample.labels_T != IGNORE).sum()) for sample in group]
        for chances, says in zip(chances_L.cpu().split(lengths), says_L.cpu().split(lengths), strict=True):
            found.append((float(chances.double().sum()), bool(says.all())))
    return found


def _with_answer(bundle: Bundle, question: Question, said: str) -> EncodedSample:
    """The prompt of answering with the answer behind it: labels on the answer alone."""
    prompt = bundle.processor.encode(to_sample(question), answering=True)
    ids = torch.tensor(bundle.processor.tokenizer.encode(said.strip()), dtype=torch.long)
    if not len(ids):
        raise DataError(f"{question.key}: an empty answer has no likelihood")
    tokens_T = torch.cat([prompt.tokens_T, ids])
    labels_T = torch.full_like(tokens_T, IGNORE)
    labels_T[prompt.num_tokens - 1 : -1] = ids
    return replace(prompt, tokens_T=tokens_T, labels_T=labels_T)
