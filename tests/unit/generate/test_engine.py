"""Batched decoding on the debug model: the same answer whatever the batch, stopping, sampling, streaming."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mm15.base.batch import EncodedSample, pack
from mm15.base.types import Category, ImagePart, MediaRef, Sample, user
from mm15.generate.engine import Generation, batches, generate, stream
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


def end_after(model: MultimodalModel, processor: Processor, lengths: dict[int, int]):
    """A model that ends sequence s after lengths[s] tokens: prompts are told apart by their length."""

    class Ending:
        def __init__(self):
            self.steps: dict[int, int] = {}
            self.cache_sizes: list[int] = []

        def parameters(self):
            return model.parameters()

        def new_cache(self, *args):
            return model.new_cache(*args)

        def prefill(self, batch, cache):
            logits = model.prefill(batch, cache)
            self.prompt = {length: n for n, length in enumerate(cache.lengths)}
            self.start = list(cache.lengths)
            return self.end(logits, [0] * len(cache.lengths), list(range(len(cache.lengths))))

        def decode(self, tokens, cache):
            self.cache_sizes.append(cache.num_sequences)
            logits = model.decode(tokens, cache)
            steps = self.cache_sizes.__len__()
            rows = [self.prompt[length - steps] for length in cache.lengths]
            return self.end(logits, [steps] * len(rows), rows)

        def end(self, logits, steps, rows):
            stop = min(processor.stop_tokens)
            for place, (step, row) in enumerate(zip(steps, rows, strict=True)):
                logits[place, stop] = 1e9 if step >= lengths[row] else -1e9
            return logits

    return Ending()


def test_sequences_end_one_by_one_and_the_cache_is_compacted(model, processor, prompts):
    four = [prompts[1], prompts[3], prompts[5], prompts[0]]
    assert len({prompt.num_tokens for prompt in four}) == 4
    lengths = {0: 0, 1: 9, 2: 3, 3: 5}
    ending = end_after(model, processor, lengths)
    answers = generate(ending, processor, four, max_new_tokens=8)
    assert [len(answer.ids) for answer in answers] == [0, 8, 3, 5]
    assert [answer.stop_reason for answer in answers] == ["stop", "length", "stop", "stop"]
    # One of four is idle after step 0, two after step 3 (kept: 2), one of these after step 5.
    assert ending.cache_sizes == [4, 4, 4, 2, 2, 1, 1]
    for n, prompt in enumerate(four):
        alone = end_after(model, processor, {0: lengths[n]})
        assert generate(alone, processor, [prompt], max_new_tokens=8)[0] == answers[n]


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
    assert generate(model, processor, prompts, max_new_tokens=6, batch_tokens=150) == whole


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


def test_stream_holds_back_unfinished_characters(processor, model, prompts, monkeypatch):
    script = [*processor.tokenizer.encode("é"), *processor.tokenizer.encode("f"), min(processor.stop_tokens)]
    assert len(script) == 4, "é takes two bytes here"
    steps = ({0: token} for token in script)
    monkeypatch.setattr("mm15.generate.engine._steps", lambda *args: steps)
    assert list(stream(model, processor, prompts[0], 9, Sampling())) == ["é", "f"]


def test_stream_never_takes_back_what_was_given(processor, model, prompts, monkeypatch):
    ids = [ord(";"), 0xFF, ord("!")]  # the byte tokens: a character, a byte that is no text, a character
    steps = ({0: token} for token in ids)
    monkeypatch.setattr("mm15.generate.engine._steps", lambda *args: steps)
    pieces = stream(model, processor, prompts[0], 9, Sampling())
    said = [next(pieces)]
    with pytest.raises(StopIteration) as end:
        while True:
            said.append(next(pieces))
    assert said[0] == ";"
    assert end.value.value == Generation(tuple(ids), processor.decode(ids), "length")


def test_wrong_arguments_are_named(model, processor, prompts):
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, found 0"):
        generate(model, processor, prompts[:1], max_new_tokens=0)
    with pytest.raises(ValueError, match=r"temperature must.*-1.*top_p must.*1\.5"):
        Sampling(temperature=-1, top_p=1.5)


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


def test_no_prompts_no_answers(model, processor):
    assert generate(model, processor, [], max_new_tokens=4) == []
    assert Generation((), "", "stop").ids == ()
