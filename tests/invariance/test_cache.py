"""Prefill and decoding with a cache give the logits of a full forward pass."""

import dataclasses

import pytest
import torch

from mm15.base.batch import pack
from unit.model.made import DEBUG, model, sample

PROMPTS = [sample(7, 1, 1), sample(30, 3, 2), sample(12, 0, 3)]
STEPS = 6


def packed(samples):
    return pack(samples, DEBUG.image_token, DEBUG.connector.tokens)


def longer(one, words):
    tokens = torch.cat([one.tokens_T, words])
    return dataclasses.replace(one, tokens_T=tokens, labels_T=torch.full_like(tokens, -100))


def last_logits(net, samples):
    batch = packed(samples)
    return net.decoder.head(net.hidden(batch)[torch.tensor(batch.borders[1:]) - 1])


def test_cached_equals_full():
    net = model()
    words = torch.randint(
        2, DEBUG.decoder.vocab_size, (len(PROMPTS), STEPS), generator=torch.Generator().manual_seed(7)
    )
    cache = net.new_cache(len(PROMPTS), max(one.num_tokens for one in PROMPTS) + STEPS)
    found = [net.prefill(packed(PROMPTS), cache)] + [net.decode(words[:, step], cache) for step in range(STEPS)]
    with torch.no_grad():
        for step, logits in enumerate(found):
            expected = last_logits(net, [longer(one, words[row, :step]) for row, one in enumerate(PROMPTS)])
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert cache.lengths == [one.num_tokens + STEPS for one in PROMPTS]


def test_finished_sequences_can_leave():
    net = model()
    cache = net.new_cache(len(PROMPTS), 80)
    net.prefill(packed(PROMPTS), cache)
    net.decode(torch.tensor([3, 4, 5]), cache)
    cache.keep([2, 0])
    assert cache.num_sequences == 2
    logits = net.decode(torch.tensor([6, 7]), cache)
    with torch.no_grad():
        expected = last_logits(
            net, [longer(PROMPTS[2], torch.tensor([5, 6])), longer(PROMPTS[0], torch.tensor([3, 7]))]
        )
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_refusals():
    net = model()
    cache = net.new_cache(len(PROMPTS), 46)
    with pytest.raises(ValueError, match="2 sequences for a cache of 3"):
        net.prefill(packed(PROMPTS[:2]), cache)
    net.prefill(packed(PROMPTS), cache)
    with pytest.raises(ValueError, match="needs an empty cache"):
        net.prefill(packed(PROMPTS), cache)
    net.decode(torch.tensor([3, 4, 5]), cache)
    net.decode(torch.tensor([3, 4, 5]), cache)
    net.decode(torch.tensor([3, 4, 5]), cache)
    with pytest.raises(ValueError, match="grow to 47 positions; the cache holds 46"):
        net.decode(torch.tensor([3, 4, 5]), cache)
    assert cache.lengths[1] == 46


@pytest.mark.parametrize("window", [None, 8])
@torch.no_grad()
def test_one_page_says_what_many_say(window):
    decoder = DEBUG.decoder.model_copy(update={"window": window})
    net = model(DEBUG.model_copy(update={"decoder": decoder}))
    one = PROMPTS[1]
    words = torch.randint(2, DEBUG.decoder.vocab_size, (STEPS,), generator=torch.Generator().manual_seed(7))
    for page in (one.num_tokens + STEPS, 4):
        cache = net.new_cache(1, one.num_tokens + STEPS, page=page)
        logits = net.prefill(packed([one]), cache)
        for step in range(STEPS):
            torch.testing.assert_close(logits, last_logits(net, [longer(one, words[:step])]), atol=1e-5, rtol=1e-5)
            logits = net.decode(words[step : step + 1], cache)
