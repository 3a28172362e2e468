"""Batched decoding on the debug model: the same answer whatever the batch, stopping, sampling, streaming."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mm15.base.batch import EncodedSample, pack
from mm15.base.types import Category, ImagePart, MediaRef, Sample, user
from mm15.generate.engine import Engine, Generation, batches, generate, stream
from mm15.generate.sampling import Sampling, choose
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def processor() -> Processor:
    tokenizer = train_tokenizer(["the quick brown fox, 0123456789?"], SPECIALS)
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    return Processor(config, tokenizer)


@pytest.fixture(scope="module")
def model(processor: Processor) -> MultimodalModel:
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=3)
    with torch.no_grad():  # larger weights: an untrained model should not say one token for ever
        for parameter in model.parameters():
            parameter.mul_(2.5)
        # The bytes 0-255 are made unlikely and the end token likely enough to stop some answers, but not all.
        model.decoder.embedding.weight[:256] *= 0.1
    return model


def picture(width: int, height: int, seed: int) -> ImagePart:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return ImagePart(MediaRef(data=file.getvalue()), width, height)


@pytest.fixture(scope="module")
def prompts(processor: Processor) -> list[EncodedSample]:
    parts = [
        (picture(40, 24, 0), "\nthe fox?"),
        ("quick",),
        (picture(20, 33, 1), picture(31, 20, 2), "brown"),
        ("0123456789 the quick brown fox the quick brown fox",),
        (picture(64, 21, 3), "fox?"),
        ("?",),
        (picture(17, 90, 4),),
        ("the", picture(19, 25, 5), "fox"),
    ]
    samples = [Sample(f"s{n}", "test", Category.GENERAL, (user(*part),)) for n, part in enumerate(parts)]
    return [processor.encode(sample, answering=True) for sample in samples]


def test_a_mixed_batch_answers_as_each_prompt_alone(model, processor, prompts):
    together = generate(model, processor, prompts, max_new_tokens=24)
    alone = [generate(model, processor, [prompt], max_new_tokens=24)[0] for prompt in prompts]
    assert together == alone
    assert len({answer.ids for answer in together}) == len(prompts), "the prompts should not all get one answer"


def test_greedy_answers_equal_rereading_everything_at_each_step(model, processor, prompts):
    prompt = prompts[2]
    tokens = prompt.tokens_T
    said = []
    for _ in range(8):
        grown = EncodedSample(tokens, torch.full_like(tokens, -100), prompt.tiles_NCHW, "k", "s", "c")
        with torch.no_grad():
            hidden_TD = model.hidden(pack([grown], processor.image_token, processor.tokens_per_tile))
            logits_V = model.decoder.head(hidden_TD[-1:])[0]
        logits_V[processor.image_token] = -torch.inf
        token = int(logits_V.argmax())
        if token in processor.stop_tokens:
            break
        said.append(token)
        tokens = torch.cat([tokens, torch.tensor([token])])
    answer = generate(model, processor, [prompt], max_new_tokens=8)[0]
    assert list(answer.ids) == said


class _Ending:
    """A model that ends a request after as many tokens as ``lengths`` says for a prompt of its length."""

    def __init__(self, model: MultimodalModel, processor: Processor, lengths: dict[int, int]):
        self.model, self.stop, self.lengths = model, min(processor.stop_tokens), lengths
        self.passes: list[list[int]] = []
        self.starts: dict[int, int] = {}

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def advance(self, x_TD, more, cache, rows):
        self.passes.append(list(more))
        logits = self.model.advance(x_TD, more, cache, rows)
        for place, row in enumerate(rows):
            # The capacity tells requests apart: prompt and longest answer, which is 8.
            prompt = cache.capacities[row] - 8
            logits[place, self.stop] = 1e9 if cache.lengths[row] - prompt >= self.lengths[prompt] else -1e9
        return logits


def ending_after(model: MultimodalModel, processor: Processor, lengths: dict[int, int]) -> Any:
    return _Ending(model, processor, lengths)


def test_requests_end_one_by_one_and_leave_at_once(model, processor, prompts):
    four = [prompts[1], prompts[3], prompts[5], prompts[0]]
    sizes = [prompt.num_tokens for prompt in four]
    assert len(set(sizes)) == 4
    lengths = dict(zip(sizes, [0, 9, 3, 5], strict=True))
    ending: Any = ending_after(model, processor, lengths)
    answers = generate(ending, processor, four, max_new_tokens=8)
    assert [len(answer.ids) for answer in answers] == [0, 8, 3, 5]
    assert [answer.stop_reason for answer in answers] == ["stop", "length", "stop", "stop"]
    assert ending.passes == [sizes, [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1], [1, 1], [1], [1]]
    for n, prompt in enumerate(four):
        assert generate(ending_after(model, processor, lengths), processor, [prompt], max_new_tokens=8)[0] == answers[n]


def test_batches_hold_what_fits_in_order():
    def prompt(length: int) -> EncodedSample:
        tokens = torch.zeros(length, dtype=torch.long)
        return EncodedSample(tokens, tokens, torch.zeros(0, 3, 4, 4, dtype=torch.uint8), str(length), "", "")

    lengths = [10, 10, 40, 5, 200, 5, 5]
    groups = list(batches([prompt(length) for length in lengths], max_new_tokens=10, batch_tokens=100))
    assert [[sample.num_tokens for sample in group] for group in groups] == [[10, 10], [40, 5], [200], [5, 5]]
    assert list(batches([], 10, 100)) == []


def test_small_batches_change_no_answer(model, processor, prompts):
    whole = generate(model, processor, prompts, max_new_tokens=6)
    assert generate(model, processor, prompts, max_new_tokens=6, batch_tokens=320) == whole


def test_sampling_repeats_for_a_seed_and_does_not_depend_on_the_batch(model, processor, prompts):
    hot = {"max_new_tokens": 10, "temperature": 1.0, "top_p": 0.9}
    first = generate(model, processor, prompts, seed=1, **hot)
    assert generate(model, processor, prompts, seed=1, **hot) == first
    assert [generate(model, processor, [prompt], seed=1, **hot)[0] for prompt in prompts] == first
    assert generate(model, processor, prompts, seed=2, **hot) != first


def test_the_image_token_is_never_said(model, processor, prompts):
    answers = generate(model, processor, prompts[:3], max_new_tokens=40, temperature=50.0)
    assert all(processor.image_token not in answer.ids for answer in answers)


def test_stream_joins_to_the_answer(model, processor, prompts):
    for prompt in prompts[:4]:
        pieces = stream(model, processor, prompt, 16, Sampling())
        said = []
        while True:
            try:
                said.append(next(pieces))
            except StopIteration as end:
                answer = end.value
                break
        assert answer == generate(model, processor, [prompt], max_new_tokens=16)[0]
        assert "".join(said) == answer.text or "\ufffd" in answer.text
        assert all(said)


def drained(pieces) -> tuple[list[str], Generation]:
    said = []
    while True:
        try:
            said.append(next(pieces))
        except StopIteration as end:
            return said, end.value


def test_streams_move_all_requests_on_and_can_be_told_apart(model, processor, prompts):
    engine = Engine(model, processor)
    tickets = [engine.submit(prompt, 12) for prompt in prompts[:3]]
    said, answer = drained(engine.stream(tickets[1]))
    expected = generate(model, processor, prompts[:3], max_new_tokens=12)
    assert answer == expected[1]
    assert "".join(said) == answer.text or "\ufffd" in answer.text
    assert [engine.result(tickets[n]) for n in (2, 0)] == [expected[2], expected[0]]
    with pytest.raises(KeyError):
        engine.is_done(tickets[1])


def test_a_stream_that_is_closed_frees_its_pages(model, processor, prompts):
    engine = Engine(ending_after(model, processor, {prompts[0].num_tokens: 8}), processor)
    pieces = engine.stream(engine.submit(prompts[0], 8))
    next(pieces)
    assert engine.in_flight == 1
    pieces.close()
    assert engine.in_flight == 0 and engine.cache.promised == 0


def test_cancelling_before_during_and_after(model, processor, prompts):
    engine = Engine(ending_after(model, processor, {prompt.num_tokens: 8 for prompt in prompts}), processor)
    first, second, third = (engine.submit(prompt, 8) for prompt in prompts[:3])
    assert engine.cancel(third) == Generation((), "", "cancelled")
    engine.step()
    engine.step()
    cut = engine.cancel(second)
    assert (len(cut.ids), cut.stop_reason) == (2, "cancelled")
    assert cut.text == processor.decode(cut.ids)
    while not engine.is_done(first):
        engine.step()
    assert engine.cancel(first).stop_reason == "length"
    assert engine.in_flight == 0


def test_a_stop_string_ends_the_answer(model, processor, prompts):
    whole = generate(model, processor, [prompts[0]], max_new_tokens=24)[0]
    middle = next(place for place in range(2, len(whole.text)) if whole.text[place] not in whole.text[:place])
    stop = whole.text[middle : middle + 2]
    cut = generate(model, processor, [prompts[0]], max_new_tokens=24, stop=["never said", stop])[0]
    assert (cut.text, cut.stop_reason) == (whole.text[:middle], "stop")
    assert cut.ids == whole.ids[: len(cut.ids)]
    said, answer = drained(stream(model, processor, prompts[0], 24, Sampling(), [stop]))
    assert answer == cut and "".join(said) == cut.text


def test_wrong_arguments_are_named(model, processor, prompts):
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, found 0"):
        generate(model, processor, prompts[:1], max_new_tokens=0)
    with pytest.raises(ValueError, match=r"temperature must.*-1.*top_p must.*1\.5"):
        Sampling(temperature=-1, top_p=1.5)
    with pytest.raises(ValueError, match=r"min_p must lie in \[0, 1\], found 2"):
        Sampling(min_p=2)
    engine = Engine(model, processor, places=64)
    with pytest.raises(ValueError, match=r"s3: \d+ tokens and an answer of 100 need \d+ places, the cache has 64"):
        engine.submit(prompts[3], 100)
    with pytest.raises(ValueError, match="a stop string is empty"):
        engine.submit(prompts[5], 4, stop=["a", ""])
    with pytest.raises(ValueError, match=r"at least one page \(32\), found 2048, 31"):
        Engine(model, processor, places=31)
    assert engine.in_flight == 0


def test_choose_greedy_and_nucleus():
    logits_SV = torch.tensor([[0.0, 3.0, 2.9], [5.0, 0.0, 0.0]])
    generators = [torch.Generator().manual_seed(n) for n in (0, 1)]
    assert choose(logits_SV, Sampling(), generators) == [1, 0]
    # 0.6, 0.3, 0.1: a nucleus of 0.5 holds only the first, one of 0.65 the first two.
    row = torch.tensor([[0.6, 0.3, 0.1]]).log()
    one = [choose(row, Sampling(1.0, 0.5), generators[:1])[0] for _ in range(50)]
    two = [choose(row, Sampling(1.0, 0.65), generators[:1])[0] for _ in range(400)]
    assert set(one) == {0}
    assert set(two) == {0, 1}
    assert 0.55 < two.count(0) / 400 < 0.78, "0.6 / 0.9 is two thirds"


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
    row = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    generator = torch.Generator().manual_seed(0)
    drawn = [choose(row, Sampling(1.0, min_p=0.29), [generator])[0] for _ in range(300)]
    assert set(drawn) == {0, 1, 2}
    both = [choose(row, Sampling(1.0, 0.6, min_p=0.29), [generator])[0] for _ in range(200)]
    assert set(both) == {0, 1}, "the nucleus of 0.6 holds two"
    assert {choose(row, Sampling(1.0, min_p=1.0), [generator])[0] for _ in range(30)} == {0}
    mixed = choose(row.repeat(2, 1), [Sampling(), Sampling(1.0, min_p=1.0)], [generator] * 2)
    assert mixed == [0, 0]


def test_no_prompts_no_answers(model, processor):
    assert generate(model, processor, [], max_new_tokens=4) == []
    assert Generation((), "", "stop").ids == ()
