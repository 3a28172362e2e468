"""64 requests in flight, of all lengths, with and without pictures, answer as each would alone, token for token."""

from __future__ import annotations

import pytest
import torch

from mm15.base.batch import EncodedSample, pack
from mm15.generate.engine import Engine, Generation, generate
from mm15.generate.sampling import Sampling
from mm15.model.multimodal import MultimodalModel
from mm15.processor import Processor
from serving_fixture import made_model, made_processor, made_prompts

LONGEST = 16


@pytest.fixture(scope="module")
def processor() -> Processor:
    return made_processor()


@pytest.fixture(scope="module")
def model(processor: Processor) -> MultimodalModel:
    return made_model(processor)


@pytest.fixture(scope="module")
def prompts(processor: Processor) -> list[EncodedSample]:
    return made_prompts(processor, 64)


@pytest.fixture(scope="module")
def alone(model, processor, prompts) -> list[Generation]:
    return [generate(model, processor, [prompt], LONGEST)[0] for prompt in prompts]


def test_the_requests_are_mixed(prompts, alone):
    assert len({prompt.num_tokens for prompt in prompts}) > 20
    assert 20 < sum(prompt.num_tiles > 0 for prompt in prompts) < 60
    assert {answer.stop_reason for answer in alone} == {"stop", "length"}
    assert len({answer.ids for answer in alone}) > 40


def test_alone_is_what_rereading_everything_says(model, processor, prompts, alone):
    for prompt, answer in list(zip(prompts, alone, strict=True))[::9]:
        words = torch.tensor(answer.ids, dtype=torch.long)
        tokens = torch.cat([prompt.tokens_T, words])
        grown = EncodedSample(tokens, torch.full_like(tokens, -100), prompt.tiles_NCHW, "k", "s", "c")
        with torch.no_grad():
            hidden_TD = model.hidden(pack([grown], processor.image_token, processor.tokens_per_tile))
            logits_TV = model.decoder.head(hidden_TD[prompt.num_tokens - 1 :])
        logits_TV[:, processor.image_token] = -torch.inf
        assert logits_TV.argmax(-1)[: len(words)].tolist() == list(answer.ids)


@pytest.mark.parametrize(
    ("places", "chunk", "page"),
    [(16_384, 2_048, 32), (1_024, 2_048, 32), (16_384, 37, 8), (900, 7, 4)],
    ids=["all at once", "waiting for room", "prompts in chunks", "small pages, few places, short chunks"],
)
def test_together_they_answer_as_alone(model, processor, prompts, alone, places, chunk, page):
    engine = Engine(model, processor, places, chunk, page)
    tickets = [engine.submit(prompt, LONGEST) for prompt in prompts]
    assert [engine.result(ticket) for ticket in tickets] == alone
    assert engine.in_flight == 0
    assert sorted(engine.cache.free) == list(range(engine.cache.num_pages)), "every page comes back"
    assert engine.cache.promised == 0


def test_requests_join_and_leave_between_steps(model, processor, prompts, alone):
    engine = Engine(model, processor, places=2_000, chunk=50, page=16)
    tickets: dict[int, int] = {}
    cancelled = set()
    for number, prompt in enumerate(prompts):
        tickets[number] = engine.submit(prompt, LONGEST)
        engine.step()
        if number % 7 == 5:
            gone = engine.cancel(tickets.pop(number - 2))
            assert gone.ids == alone[number - 2].ids[: len(gone.ids)]
            cancelled.add(number - 2)
    assert len(cancelled) == 9
    for number, ticket in tickets.items():
        assert engine.result(ticket) == alone[number], number
    assert engine.cache.promised == 0


def test_draws_do_not_depend_on_who_else_is_in_flight(model, processor, prompts):
    how = [Sampling(0.9, 0.9, seed, min_p=0.02) if seed % 2 else Sampling() for seed in range(16)]
    engine = Engine(model, processor)
    tickets = [engine.submit(prompt, 10, one) for prompt, one in zip(prompts, how, strict=False)]
    together = [engine.result(ticket) for ticket in tickets]
    for prompt, one, answer in zip(prompts, how, together, strict=False):
        single = Engine(model, processor)
        assert single.result(single.submit(prompt, 10, one)) == answer
