from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from mm15.base.torch_rng import torch_rng
from mm15.train import loss
from mm15.train.loss import CATEGORIES, loss_sums
from training_fixture import debug_model, random_pack


def fake_output(batch, vocabulary=11, dtype=torch.float32):
    positions_L = (batch.labels_T != -100).nonzero().flatten()
    logits_LV = torch.randn(len(positions_L), vocabulary, generator=torch_rng(1, "logits")).to(dtype).requires_grad_()
    return SimpleNamespace(
        logits_LV=logits_LV, targets_L=batch.labels_T[positions_L] % vocabulary, positions_L=positions_L
    )


def test_sum_equals_cross_entropy_and_its_gradient():
    batch = random_pack(0, samples=4)
    output = fake_output(batch)
    sums = loss_sums(output, batch)
    expected = functional.cross_entropy(output.logits_LV, output.targets_L, reduction="sum")
    torch.testing.assert_close(sums.objective, expected)
    torch.testing.assert_close(sums.cross_entropy, expected.detach())
    (mine,) = torch.autograd.grad(sums.objective, output.logits_LV)
    (theirs,) = torch.autograd.grad(expected, output.logits_LV)
    torch.testing.assert_close(mine, theirs)


def test_z_loss_is_in_the_objective_but_not_in_the_report():
    batch = random_pack(1)
    output = fake_output(batch)
    plain, with_z = loss_sums(output, batch), loss_sums(output, batch, z_loss=0.01)
    penalty = 0.01 * output.logits_LV.logsumexp(-1).square().sum()
    torch.testing.assert_close(with_z.objective, plain.objective + penalty)
    torch.testing.assert_close(with_z.cross_entropy, plain.cross_entropy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_change_nothing(monkeypatch, dtype):
    batch = random_pack(2, samples=4)
    output = fake_output(batch, dtype=dtype)
    whole = loss_sums(output, batch, z_loss=1e-3)
    (whole_grad,) = torch.autograd.grad(whole.objective, output.logits_LV)
    monkeypatch.setattr(loss, "CHUNK_ELEMENTS", 11 * 7)
    chunked = loss_sums(output, batch, z_loss=1e-3)
    (chunked_grad,) = torch.autograd.grad(chunked.objective, output.logits_LV)
    torch.testing.assert_close(chunked.objective, whole.objective)
    assert torch.equal(chunked_grad, whole_grad)
    torch.testing.assert_close(chunked.by_category_K2, whole.by_category_K2)


def test_categories_split_the_sum_by_sample():
    batch = random_pack(3, samples=5)
    output = debug_model()(batch)
    sums = loss_sums(output, batch)
    entropy_L = functional.cross_entropy(output.logits_LV, output.targets_L, reduction="none").detach()
    for row, category in enumerate(CATEGORIES):
        total, count = 0.0, 0
        for sample, name in enumerate(batch.categories):
            inside = (output.positions_L >= batch.borders[sample]) & (output.positions_L < batch.borders[sample + 1])
            total += float(entropy_L[inside].sum()) if name == category else 0.0
            count += int(inside.sum()) if name == category else 0
        assert sums.by_category_K2[row].tolist() == pytest.approx([total, count])
    assert float(sums.by_category_K2[:, 1].sum()) == batch.num_targets
