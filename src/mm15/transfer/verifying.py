"""Whether an exported folder says what the bundle says: the same tokens, pixels, logits and greedy answers.

transformers is an optional package, imported here and nowhere else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mm15.base.batch import EncodedSample, pack
from mm15.base.errors import BundleError, MissingExtra, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Category, ImagePart, Message, Part, Role, Sample, TextPart, assistant, user
from mm15.bundle import Bundle
from mm15.generate.chat import picture_part
from mm15.generate.engine import generate
from mm15.model.vit import normalise

PROMPTS = 20
NEW_TOKENS = 64
TOLERANCE = 1e-4
"""Largest difference of a logit in fp32, as a share of the largest logit or of 1."""
WORDS = "what is this where the dog a red car 42 read , here : Compare both pictures ! [10, 20, 300, 400] ünïcödé 漢字"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared: prompts, their tokens, new tokens, the largest difference of a logit, and answers that part
    where the two likeliest tokens are closer than the tolerance."""

    prompts: int
    prompt_tokens: int
    new_tokens: int
    logit_difference: float
    ties: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One conversation, as a sample of ours and as the messages that transformers takes."""

    sample: Sample
    encoded: EncodedSample
    conversation: list[dict[str, Any]]


def verify(bundle: Bundle, folder: str | Path, to: str = "hf", prompts: int = PROMPTS) -> Verified:
    """Load a folder with transformers and compare it with its bundle on made-up conversations.

    Raises:
        BundleError: tokens, pixels, logits or greedy answers differ; the first difference is told.
        MissingExtra: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "hf", "verifying an export") from error
    transformers.utils.logging.disable_progress_bar()
    trusted = {"trust_remote_code": to == "hf", "local_files_only": True}
    reader = transformers.AutoProcessor.from_pretrained(str(folder), **trusted)
    load: Any = transformers.AutoModelForImageTextToText
    theirs = load.from_pretrained(str(folder), dtype=torch.float32, **trusted).eval()
    bundle.model.eval()
    worst, ties, tokens, new = 0.0, 0, 0, 0
    for prompt in made_prompts(bundle, prompts, square=to == "llava", typed=to == "hf"):
        inputs = _inputs(bundle, reader, prompt, to)
        with torch.inference_mode():
            logits_TV = theirs(**inputs).logits[0]
            answer = theirs.generate(
                **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=reader.tokenizer.pad_token_id
            )
        ours_TV = _logits(bundle, prompt.encoded)
        difference = float((logits_TV - ours_TV).abs().max() / ours_TV.abs().max().clamp(min=1))
        if not difference <= TOLERANCE:
            raise BundleError(f"{prompt.sample.key}: logits differ by {difference:.2e}, allowed are {TOLERANCE:.0e}")
        worst = max(worst, difference)
        said = answer[0, prompt.encoded.num_tokens :].tolist()
        ours = list(generate(bundle.model, bundle.processor, [prompt.encoded], NEW_TOKENS)[0].ids)
        ties += _compare(bundle, prompt, ours, said)
        tokens, new = tokens + prompt.encoded.num_tokens, new + len(ours)
    return Verified(prompts, tokens, new, worst, ties)


def made_prompts(bundle: Bundle, number: int, square: bool = False, typed: bool = True) -> list[Prompt]:
    """Conversations of none to three made-up pictures of many shapes, one or two questions each.

    Those too long for the bundle are made again with fewer and smaller pictures.

    Args:
        square: pictures are one square at the most.
        typed: text may hold names of special tokens, which only our own reader takes for text.
    """
    made = []
    for index in range(number):
        for attempt in range(20):
            try:
                made.append(_prompt(bundle, index, attempt, square, typed))
                break
            except SkipSample:
                continue
        else:
            raise BundleError(f"no made-up prompt fits into max_tokens = {bundle.processor.config.max_tokens}")
    return made


def _prompt(bundle: Bundle, index: int, attempt: int, square: bool, typed: bool) -> Prompt:
    rng = numpy_rng(0, "verify", index, attempt)
    words = WORDS.split(" ")
    if typed:
        words += sorted(bundle.processor.tokenizer.specials)
    tile = bundle.model.config.vision.image_size
    longest = max(tile * 3 >> attempt // 4, 8)
    pictures = 0 if attempt >= 15 else min(index % 4, 1) if square or attempt >= 8 else index % 4
    messages: list[Message] = []
    for turn in range(1 + index % 2):
        parts: list[Part] = []
        for _ in range(pictures if turn == 0 else 0):
            height, width = (int(side) for side in rng.integers(min(8, longest - 1), longest + 1, 2))
            height = width if square else height
            pixels = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
            parts += [picture_part(picture), TextPart(" ".join(rng.choice(words, 2)))]
        parts.append(TextPart("\n" * bool(parts) + " ".join(rng.choice(words, 5))))
        messages.append(user(*parts))
        if turn < index % 2:
            messages.append(assistant(" ".join(rng.choice(words, 3))))
    sample = Sample(f"prompt {index}", "verify", Category.GENERAL, tuple(messages))
    encoded = bundle.processor.encode(sample, answering=True)
    return Prompt(sample, encoded, conversation_of(sample))


def conversation_of(sample: Sample) -> list[dict[str, Any]]:
    """A sample's turns as transformers takes them; pictures must hold their bytes, regions are no part of them."""
    turns = []
    for message in sample.messages:
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                parts.append({"type": "text", "text": part.text})
            else:
                assert isinstance(part, ImagePart), "made-up conversations hold text and pictures"
                parts.append({"type": "image", "image": Image.open(io.BytesIO(part.media.data or b""))})
        turns.append({"role": Role(message.role).value, "content": parts})
    return turns


def _inputs(bundle: Bundle, reader: Any, prompt: Prompt, to: str) -> dict[str, Tensor]:
    """What the folder's own processor makes of the conversation, after comparing it with ours."""
    read = reader.apply_chat_template(
        prompt.conversation, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    theirs, ours = read["input_ids"][0].tolist(), prompt.encoded.tokens_T.tolist()
    if theirs != ours:
        at = next(
            (k for k, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours))
        )
        raise BundleError(
            f"{prompt.sample.key}: tokens differ from number {at} on: {theirs[at : at + 4]} instead of "
            f"{ours[at : at + 4]}"
        )
    vision = bundle.model.config.vision
    tiles_NCHW = normalise(prompt.encoded.tiles_NCHW, vision.mean, vision.std)
    inputs = {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"]}
    if len(tiles_NCHW) == 0:
        return inputs
    if to == "hf" and not torch.equal(read["pixel_values"], tiles_NCHW):
        raise BundleError(f"{prompt.sample.key}: the tiles have other pixels")
    # A native type resizes by its own filter: the network is compared on the same pixels.
    if to == "idefics3":
        return inputs | {"pixel_values": tiles_NCHW[None]}
    return inputs | {"pixel_values": tiles_NCHW}


def _logits(bundle: Bundle, encoded: EncodedSample, more: Sequence[int] = ()) -> Tensor:
    """Logits of every position in fp32, with ``more`` tokens behind the prompt."""
    model, processor = bundle.model, bundle.processor
    tokens_T = torch.cat([encoded.tokens_T, torch.tensor(list(more), dtype=torch.long)])
    labels_T = torch.full_like(tokens_T, -100)
    longer = EncodedSample(tokens_T, labels_T, encoded.tiles_NCHW, encoded.key, encoded.source, encoded.category)
    with torch.inference_mode():
        return model.decoder.head(model.hidden(pack([longer], processor.image_token, processor.tokens_per_tile)))


def _compare(bundle: Bundle, prompt: Prompt, ours: list[int], theirs: list[int]) -> int:
    """1 if the answers part at a tie, 0 if they are the same."""
    stops = bundle.processor.stop_tokens
    theirs = theirs[: next((k for k, token in enumerate(theirs) if token in stops), len(theirs))]
    if ours == theirs:
        return 0
    at = next((k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    last_V = _logits(bundle, prompt.encoded, ours[:at])[-1].clone()
    last_V[bundle.processor.image_token] = -torch.inf
    first, second = last_V.topk(2).values.tolist()
    if first - second <= 2 * TOLERANCE * max(1.0, abs(first)):
        return 1
    raise BundleError(
        f"{prompt.sample.key}: answers differ from new token {at} on: {theirs[at:][:4]} instead of {ours[at:][:4]}"
    )
