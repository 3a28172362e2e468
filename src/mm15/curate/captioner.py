"""What a worker of recaptioning does: it holds a model and captions chunks of pictures, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mm15.base.batch import EncodedSample
from mm15.base.errors import SkipSample
from mm15.base.types import Category, ImagePart, Sample, assistant, document, user
from mm15.bundle import Bundle
from mm15.curate.pictures import Pictures
from mm15.generate.engine import BATCH_TOKENS, batches, generate
from mm15.images.pixels import picture_size
from mm15.io.media import read_bytes


@dataclass(frozen=True, slots=True)
class Asking:
    """How captions are made.

    Without a ``prompt`` the picture opens a document whose text the model continues: what stage 1 and the captioner
    recipes train.
    """

    prompt: str = ""
    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    batch_tokens: int = BATCH_TOKENS


def set_up(load: Callable[[], Bundle], threads: int) -> Bundle:
    """The model of a worker.

    Args:
        threads: of torch in this process; 0: as they are.
    """
    if threads:
        torch.set_num_threads(threads)
    return load()


def caption(pictures: Pictures, asking: Asking, bundle: Bundle, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each of these pictures, in their order: ``{n, key, width, height, caption, stop}`` or, for one that
    cannot be used, ``{n, key, error}``."""
    rows: dict[int, dict[str, Any]] = {}

    def encoded() -> Iterator[EncodedSample]:
        for number in numbers:
            row = rows[number] = {"n": number, "key": str(number)}
            try:
                shown = pictures.picture(number)
                row["key"] = shown.key
                data = read_bytes(shown.media)
                width, height = picture_size(data, str(shown.media), shown.media.frame, dpi=shown.media.dpi)
                sample = _sample(str(number), ImagePart(shown.media, width, height), asking.prompt)
                prompt = bundle.processor.encode(sample, answering=True)
            except SkipSample as skip:
                row["error"] = str(skip)
                continue
            row |= {"width": width, "height": height}
            yield prompt

    for group in batches(encoded(), asking.max_new_tokens, asking.batch_tokens):
        answers = generate(
            bundle.model,
            bundle.processor,
            group,
            asking.max_new_tokens,
            asking.temperature,
            seed=asking.seed,
            batch_tokens=asking.batch_tokens,
        )
        for prompt, answer in zip(group, answers, strict=True):
            rows[int(prompt.key)] |= {"caption": " ".join(answer.text.split()), "stop": answer.stop_reason}
    return [rows[number] for number in numbers]


def _sample(key: str, picture: ImagePart, prompt: str) -> Sample:
    """A picture to be told about. The key names the draws, so that an answer is the same in any part or batch."""
    messages = (user(picture, f"\n{prompt}"), assistant("?")) if prompt else (document(picture),)
    return Sample(key, "recaption", Category.CAPTION, messages)
