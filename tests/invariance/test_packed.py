"""A packed batch gives every sample the logits and gradients it would have alone."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from mm15.base.batch import pack
from mm15.model import attention
from unit.model.made import DEBUG, model, sample

SAMPLES = [
    sample(num_text, num_tiles, seed)
    for seed, (num_text, num_tiles) in enumerate([(9, 2), (40, 3), (5, 0), (23, 1), (41, 4), (1, 1)])
]


def packed(samples):
    batch = pack(samples, DEBUG.image_token, DEBUG.connector.tokens)
    batch.check()
    return batch


def loss_sum(out):
    return F.cross_entropy(out.logits_LV, out.targets_L, reduction="sum")


def gradients(net, batches):
    net.zero_grad(set_to_none=True)
    for batch in batches:
        loss_sum(net(batch)).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.fixture(params=[256, 0], ids=["written-out", "fused-kernel"])
def any_path(request, monkeypatch):
    monkeypatch.setattr(attention, "WRITTEN_OUT_UP_TO", request.param)


def test_logits_equal(any_path):
    net = model()
    with torch.no_grad():
        together = net(packed(SAMPLES)).logits_LV
        alone = torch.cat([net(packed([one])).logits_LV for one in SAMPLES])
    assert together.shape == (sum(int((one.labels_T != -100).sum()) for one in SAMPLES), DEBUG.decoder.vocab_size)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_hidden_states_equal_and_agree_with_the_head():
    net = model()
    with torch.no_grad():
        hidden = net.hidden(packed(SAMPLES))
        alone = torch.cat([net.hidden(packed([one])) for one in SAMPLES])
        out = net(packed(SAMPLES))
    torch.testing.assert_close(hidden, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(net.decoder.head(hidden[out.positions_L]), out.logits_LV, atol=1e-5, rtol=1e-5)


def test_gradients_equal(any_path):
    net = model()
    together = gradients(net, [packed(SAMPLES)])
    alone = gradients(net, [packed([one]) for one in SAMPLES])
    for name, gradient in together.items():
        torch.testing.assert_close(
            gradient, alone[name], atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_order_of_samples_does_not_matter():
    net = model()
    with torch.no_grad():
        forward = net(packed(SAMPLES))
        backward = net(packed(SAMPLES[::-1]))
    assert loss_sum(forward).item() == pytest.approx(loss_sum(backward).item(), rel=1e-5)


def test_no_sample_sees_its_neighbour():
    net = model()
    changed = [*SAMPLES]
    changed[1] = dataclasses.replace(
        SAMPLES[1], tokens_T=SAMPLES[1].tokens_T.clamp(max=3), tiles_NCHW=255 - SAMPLES[1].tiles_NCHW
    )
    with torch.no_grad():
        before, after = net.hidden(packed(SAMPLES)), net.hidden(packed(changed))
    batch = packed(SAMPLES)
    start, end = batch.borders[1:3]
    assert not torch.allclose(before[start:end], after[start:end], atol=1e-3)
    same = torch.cat([before[:start] - after[:start], before[end:] - after[end:]])
    assert same.abs().max() < 1e-5
