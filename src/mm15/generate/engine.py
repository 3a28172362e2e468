"""Many requests in flight: prompts are read in chunks while others are answered, and whoever ends makes room at once.

A step is one pass of the decoder over the next token of every request that is answering and over the next chunk of the
prompts that are being read. Requests wait in order until the cache can promise them pages for prompt and longest
answer. The answer to a request does not depend on what else is in flight.

Legend: T positions, S sequences, V vocabulary, N tiles, D width.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mm15.base.batch import EncodedSample, pack
from mm15.base.torch_rng import torch_rng
from mm15.generate.features import Features
from mm15.generate.sampling import Sampling, choose
from mm15.generate.speech import Speech
from mm15.model.cache import PAGE
from mm15.model.multimodal import MultimodalModel
from mm15.model.static import StaticDecode
from mm15.processor import Processor

BATCH_TOKENS = 16_384
"""Default places of the cache: prompts and longest answers of all requests in flight."""

CHUNK = 2_048
"""Default positions of prompts read in one step: what those who are answering wait for at most."""

STOP, LENGTH, CANCELLED = "stop", "length", "cancelled"


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its tokens without the end token, their text, and ``stop`` (end token or stop string), ``length`` (cut
    off) or ``cancelled``. The text ends before a stop string; the tokens are all that were said."""

    ids: tuple[int, ...]
    text: str
    stop_reason: str


class _Request:
    """A request on its way."""

    def __init__(self, sample: EncodedSample, max_new_tokens: int, sampling: Sampling, speech: Speech) -> None:
        self.sample, self.max_new_tokens, self.sampling, self.speech = sample, max_new_tokens, sampling, speech
        self.generator = torch_rng(sampling.seed, "sampling", sample.key)
        self.unread_TD: Tensor | None = None
        self.pieces: list[str] = []
        self.answer: Generation | None = None

    @property
    def places(self) -> int:
        return self.sample.num_tokens + self.max_new_tokens

    def end(self, reason: str) -> None:
        self.pieces.append(self.speech.end())
        self.unread_TD = None
        self.answer = Generation(tuple(self.speech.ids), self.speech.text or "", reason)


class Engine:
    """Requests in, answers out. Not for several threads at a time.

    >>> engine = Engine(model, processor)
    >>> first, second = engine.submit(prompt), engine.submit(other, sampling=Sampling(0.8, seed=1), stop=["###"])
    >>> for piece in engine.stream(first): ...   # every step moves the second request on as well
    >>> engine.result(second).text

    Args:
        places: of the cache, rounded down to pages.
        chunk: positions of prompts read in one step, at least 1.
        page: places of a page.
        features: of pictures seen before; a new store if None.
    """

    def __init__(
        self,
        model: MultimodalModel,
        processor: Processor,
        places: int = BATCH_TOKENS,
        chunk: int = CHUNK,
        page: int = PAGE,
        features: Features | None = None,
    ) -> None:
        if chunk < 1 or places < page:
            raise ValueError(f"chunk must be at least 1 and places at least one page ({page}), found {chunk}, {places}")
        self.model, self.processor, self.chunk = model, processor, chunk
        self.cache = model.new_pool(places // page, page)
        self.features = features or Features(model)
        self.device = next(model.parameters()).device
        # Elsewhere kernels start as fast as Python asks for them, and attention reads pages where they lie.
        self.static = StaticDecode(model, self.cache) if self.device.type == "cuda" else None
        self._tickets = itertools.count()
        self._requests: dict[int, _Request] = {}
        self._waiting: deque[_Request] = deque()
        self._live: list[_Request] = []  # in the order of the cache's rows

    @property
    def in_flight(self) -> int:
        """Requests that are waiting, being read or being answered."""
        return len(self._waiting) + len(self._live)

    def submit(
        self,
        sample: EncodedSample,
        max_new_tokens: int = 256,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        streaming: bool = True,
    ) -> int:
        """Queue a prompt that was encoded with ``answering=True``; a ticket for ``stream``, ``result`` and ``cancel``.

        Args:
            max_new_tokens: the longest answer, its end token included.
            sampling: greedy if None; draws are seeded by its seed and the sample's key.
            stop: the answer ends before the first of these strings.
            streaming: False saves decoding text at each step where no one will ask for pieces.

        Raises:
            ValueError: ``max_new_tokens`` below 1, an empty stop string, or more positions than the whole cache has.
        """
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, found {max_new_tokens}")
        if not all(stop):
            raise ValueError("a stop string is empty: it would end every answer at once")
        request = _Request(
            sample, max_new_tokens, sampling or Sampling(), Speech(self.processor.decode, stop, streaming)
        )
        if self.cache.pages_for(request.places) > self.cache.num_pages:
            raise ValueError(
                f"{sample.key}: {sample.num_tokens} tokens and an answer of {max_new_tokens} need {request.places} "
                f"places, the cache has {self.cache.num_pages * self.cache.page}; give the engine more places"
            )
        ticket = next(self._tickets)
        self._requests[ticket] = request
        self._waiting.append(request)
        return ticket

    def is_done(self, ticket: int) -> bool:
        """Whether the answer is whole. Raises ``KeyError`` for a ticket that is unknown or was redeemed."""
        return self._requests[ticket].answer is not None

    def cancel(self, ticket: int) -> Generation:
        """End a request now, free its pages, and redeem the ticket for what was said so far."""
        request = self._requests.pop(ticket)
        if request.answer is None:
            if request in self._waiting:
                self._waiting.remove(request)
            else:
                self._drop([request])
            request.end(CANCELLED)
        assert request.answer is not None
        return request.answer

    def result(self, ticket: int) -> Generation:
        """The answer, after as many steps as it takes; redeems the ticket."""
        while not self.is_done(ticket):
            self.step()
        answer = self._requests.pop(ticket).answer
        assert answer is not None
        return answer

    def stream(self, ticket: int) -> Generator[str, None, Generation]:
        """Pieces of the answer as they come, then the ``Generation`` they join to (see ``Speech``); redeems the ticket.

        A stream that is closed before its end cancels the request.
        """
        request = self._requests[ticket]
        try:
            while True:
                pieces, request.pieces = request.pieces, []
                yield from filter(None, pieces)
                if request.answer is not None:
                    return request.answer
                if not pieces:
                    self.step()
        finally:
            if ticket in self._requests:
                self.cancel(ticket)

    @torch.inference_mode()
    def step(self) -> None:
        """Let waiting requests in, and move every request in flight on: by a token, or by a chunk of its prompt."""
        self._admit()
        if not self._live:
            return
        more, rows = self._share()
        is_answering = all(request.unread_TD is None for request in self._live)
        if self.static is not None and is_answering and self.static.suits():
            logits_SV = self.static.advance([request.speech.ids[-1] for request in self._live])
        else:
            logits_SV = self.model.advance(self._inputs(more), more, self.cache, rows)
        # A picture is something the model is shown; it cannot say one.
        logits_SV[:, self.processor.image_token] = -math.inf
        asked = [self._live[row] for row in rows]
        tokens = choose(logits_SV, [r.sampling for r in asked], [r.generator for r in asked]) if asked else []
        ended = [request for request, token in zip(asked, tokens, strict=True) if self._say(request, token)]
        if ended:
            self._drop(ended)

    def _admit(self) -> None:
        new: list[_Request] = []
        while self._waiting and self.cache.fits(self._waiting[0].places):
            request = self._waiting.popleft()
            self.cache.open(request.places)
            self._live.append(request)
            new.append(request)
        if not new:
            return
        tiles_NCHW = torch.cat([request.sample.tiles_NCHW for request in new])
        model, decoder = self.model, self.model.config
        empty = torch.zeros(0, decoder.connector.tokens, decoder.decoder.width, dtype=model.compute_dtype)
        features_NMD = self.features.of(tiles_NCHW) if len(tiles_NCHW) else empty.to(self.device)
        samples = [request.sample for request in new]
        batch = pack(samples, self.processor.image_token, self.processor.tokens_per_tile).to(self.device)
        prompts = model.embed(batch, features_NMD).split([sample.num_tokens for sample in samples])
        for request, unread_TD in zip(new, prompts, strict=True):
            request.unread_TD = unread_TD

    def _share(self) -> tuple[list[int], list[int]]:
        """New positions of every row, and the rows that have a token to say after them."""
        left = self.chunk
        more, rows = [], []
        for row, request in enumerate(self._live):
            unread = 0 if request.unread_TD is None else len(request.unread_TD)
            count = min(unread, left) if unread else 1
            left -= count if unread else 0
            more.append(count)
            if count and count >= unread:
                rows.append(row)
        return more, rows

    def _inputs(self, more: Sequence[int]) -> Tensor:
        """Decoder inputs of the new positions, [T, D]."""
        said = [request.speech.ids[-1] for request in self._live if request.unread_TD is None]
        said_SD = self.model.decoder.embed(torch.tensor(said, dtype=torch.long, device=self.device),
                                           self.model.compute_dtype)  # fmt: skip
        if len(said) == len(self._live):
            return said_SD
        words = iter(said_SD.split(1))
        parts = []
        for request, count in zip(self._live, more, strict=True):
            if request.unread_TD is None:
                parts.append(next(words))
            else:
                parts.append(request.unread_TD[:count])
                rest_TD = request.unread_TD[count:]
                request.unread_TD = rest_TD if len(rest_TD) else None
        return torch.cat(parts)

    def _say(self, request: _Request, token: int) -> bool:
        """Give a request its next token; whether that was its last."""
        if token in self.processor.stop_tokens:
            request.end(STOP)
            return True
        piece, is_stopped = request.speech.hear(token)
        request.pieces.append(piece)
        if is_stopped or len(request.speech.ids) == request.max_new_tokens:
            request.end(STOP if is_stopped else LENGTH)
            return True
        return False

    def _drop(self, ended: Sequence[_Request]) -> None:
        kept = [row for row, request in enumerate(self._live) if request not in ended]
        self.cache.keep(kept)
        self._live = [self._live[row] for row in kept]


def generate(
    model: MultimodalModel,
    processor: Processor,
    samples: Sequence[EncodedSample],
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    min_p: float = 0.0,
    stop: Sequence[str] = (),
) -> list[Generation]:
    """Answer prompts that were encoded with ``answering=True``, in their order.

    Args:
        max_new_tokens: the longest answer, its end token included.
        temperature: 0 is greedy; above, draws are seeded by ``seed`` and the sample's key.
        batch_tokens: places of the cache; of more prompts than fit, one begins when another has ended.

    Raises:
        ValueError: ``max_new_tokens`` below 1, or sampling values out of range.
    """
    sampling = Sampling(temperature, top_p, seed, min_p)
    # Rounded up to pages, each prompt by itself: what fits without them fits with them.
    needs = [-(-(sample.num_tokens + max_new_tokens) // PAGE) * PAGE for sample in samples]
    if not needs:
        return []
    # A prompt that is alone lies in one page: nothing has to be shared, and attention reads it in one piece.
    page = needs[0] if len(needs) == 1 else PAGE
    engine = Engine(model, processor, min(sum(needs), max(batch_tokens, *needs, PAGE)), page=page)
    tickets = [engine.submit(sample, max_new_tokens, sampling, stop, streaming=False) for sample in samples]
    return [engine.result(ticket) for ticket in tickets]


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
    model: MultimodalModel,
    processor: Processor,
    sample: EncodedSample,
    max_new_tokens: int,
    sampling: Sampling,
    stop: Sequence[str] = (),
    features: Features | None = None,
) -> Generator[str, None, Generation]:
    """The answer to one prompt piece by piece. Returns the ``Generation``, whose text the pieces join to.

    Raises:
        ValueError: as ``Engine.submit``.
    """
    places = sample.num_tokens + max(max_new_tokens, 1)
    engine = Engine(model, processor, places, page=places, features=features)
    return (yield from engine.stream(engine.submit(sample, max_new_tokens, sampling, stop)))
