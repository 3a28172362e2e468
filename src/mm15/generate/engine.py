"""Prefill, decode, stop: many requests, one cache.

Prompts are packed end to end and read once; then every sequence grows by one token per step. A finished sequence idles
in its row of the cache until half of the rows are idle; then the cache is compacted. The answer to a prompt does not
depend on what else is in its batch.

Legend: S sequences, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from mm15.base.batch import EncodedSample, pack
from mm15.base.torch_rng import torch_rng
from mm15.generate.sampling import Sampling, choose
from mm15.model.multimodal import MultimodalModel
from mm15.processor import Processor

BATCH_TOKENS = 16_384
"""Default places of the cache: sequences times the longest of them, answer included."""

STOP, LENGTH = "stop", "length"


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its tokens without the end token, their text, and ``stop`` (end token) or ``length`` (cut off)."""

    ids: tuple[int, ...]
    text: str
    stop_reason: str


def generate(
    model: MultimodalModel,
    processor: Processor,
    samples: Sequence[EncodedSample],
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Generation]:
    """Answer prompts that were encoded with ``answering=True``, in their order.

    Args:
        max_new_tokens: the longest answer, its end token included.
        temperature: 0 is greedy; above, draws are seeded by ``seed`` and the sample's key.
        batch_tokens: places of the cache; more prompts than fit are answered batch after batch.

    Raises:
        ValueError: ``max_new_tokens`` below 1, or sampling values out of range.
    """
    sampling = Sampling(temperature, top_p, seed)
    return [
        answer
        for group in batches(samples, max_new_tokens, batch_tokens)
        for answer in _answer(model, processor, group, max_new_tokens, sampling)
    ]


def batches(
    samples: Iterable[EncodedSample], max_new_tokens: int, batch_tokens: int = BATCH_TOKENS
) -> Iterator[list[EncodedSample]]:
    """Neighbouring prompts that fit a cache of ``batch_tokens`` places together. One that alone does not goes alone."""
    group: list[EncodedSample] = []
    longest = 0
    for sample in samples:
        longest = max(longest, sample.num_tokens + max_new_tokens)
        if group and (len(group) + 1) * longest > batch_tokens:
            yield group
            group, longest = [], sample.num_tokens + max_new_tokens
        group.append(sample)
    if group:
        yield group


def stream(
    model: MultimodalModel, processor: Processor, sample: EncodedSample, max_new_tokens: int, sampling: Sampling
) -> Generator[str, None, Generation]:
    """The answer to one prompt piece by piece. Returns the ``Generation``, whose text the pieces join to.

    A character whose bytes are not complete yet is held back. Only where bytes that are no text spoil characters that
    were already given (byte-fallback decoders replace the whole run) do the pieces stop short of the text.
    """
    ids: list[int] = []
    shown, stop_reason = "", LENGTH
    for step in _steps(model, processor, [sample], max_new_tokens, sampling):
        token = step[0]
        if token in processor.stop_tokens:
            stop_reason = STOP
            break
        ids.append(token)
        whole = processor.decode(ids).rstrip("\ufffd")
        if len(whole) > len(shown) and whole.startswith(shown):
            yield whole[len(shown) :]
            shown = whole
    text = processor.decode(ids)
    if len(text) > len(shown) and text.startswith(shown):
        yield text[len(shown) :]
    return Generation(tuple(ids), text, stop_reason)


def _answer(
    model: MultimodalModel,
    processor: Processor,
    samples: Sequence[EncodedSample],
    max_new_tokens: int,
    sampling: Sampling,
) -> list[Generation]:
    ids: list[list[int]] = [[] for _ in samples]
    reasons = [LENGTH] * len(samples)
    for step in _steps(model, processor, samples, max_new_tokens, sampling):
        for index, token in step.items():
            if token in processor.stop_tokens:
                reasons[index] = STOP
            else:
                ids[index].append(token)
    return [Generation(tuple(said), processor.decode(said), reason) for said, reason in zip(ids, reasons, strict=True)]


@torch.inference_mode()
def _steps(
    model: MultimodalModel,
    processor: Processor,
    samples: Sequence[EncodedSample],
    max_new_tokens: int,
    sampling: Sampling,
) -> Iterator[dict[int, int]]:
    """Step by step, the next token of every sequence that has not ended: sample index → token."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, found {max_new_tokens}")
    device = next(model.parameters()).device
    batch = pack(samples, processor.image_token, processor.tokens_per_tile).to(device)
    cache = model.new_cache(len(samples), max(sample.num_tokens for sample in samples) + max_new_tokens)
    generators = [torch_rng(sampling.seed, "sampling", sample.key) for sample in samples]
    rows = list(range(len(samples)))
    live = set(rows)
    logits_SV = model.prefill(batch, cache)
    for step in range(max_new_tokens):
        # A picture is something the model is shown; it cannot say one.
        logits_SV[:, processor.image_token] = -math.inf
        tokens = choose(logits_SV, sampling, [generators[index] for index in rows])
        yield {index: token for index, token in zip(rows, tokens, strict=True) if index in live}
        live -= {index for index, token in zip(rows, tokens, strict=True) if token in processor.stop_tokens}
        if not live or step + 1 == max_new_tokens:
            return
        if len(live) * 2 <= len(rows):
            kept = [place for place, index in enumerate(rows) if index in live]
            cache.keep(kept)
            rows, tokens = [rows[place] for place in kept], [tokens[place] for place in kept]
        logits_SV = model.decode(torch.tensor(tokens, device=device), cache)
