import dataclasses

import pytest
import torch
import torch.nn.functional as F

from mm15.base.batch import IGNORE, pack
from mm15.model.multimodal import MultimodalModel
from unit.model.made import DEBUG, model, sample


def packed(*samples):
    return pack(samples, DEBUG.image_token, DEBUG.connector.tokens)


def test_logits_only_where_there_is_a_label():
    batch = packed(sample(9, 2, 0), sample(14, 1, 1))
    out = model()(batch)
    assert torch.equal(out.positions_L, (batch.labels_T != IGNORE).nonzero().flatten())
    assert torch.equal(out.targets_L, batch.labels_T[out.positions_L])
    assert out.logits_LV.shape == (batch.num_targets, DEBUG.decoder.vocab_size)


def test_a_batch_without_labels_gives_no_logits():
    one = sample(9, 1)
    out = model()(packed(dataclasses.replace(one, labels_T=torch.full_like(one.labels_T, IGNORE))))
    assert out.logits_LV.shape == (0, DEBUG.decoder.vocab_size)


def test_tile_features_lie_at_the_image_positions_in_order():
    net, batch = model(), packed(sample(9, 3, 0), sample(5, 0, 1), sample(4, 2, 2))
    is_image = batch.tokens_T == DEBUG.image_token
    x = net.embed(batch)
    assert torch.equal(x[is_image], net.encode_tiles(batch.tiles_NCHW).flatten(0, 1))
    assert torch.equal(x[~is_image], net.decoder.embedding.weight[batch.tokens_T[~is_image]])


def test_every_parameter_is_trained():
    net = model()
    out = net(packed(sample(30, 2, 0), sample(20, 3, 1)))
    F.cross_entropy(out.logits_LV, out.targets_L).backward()
    idle = [
        name for name, parameter in net.named_parameters() if parameter.grad is None or parameter.grad.abs().max() == 0
    ]
    assert not idle


@pytest.mark.parametrize("kind", ["c-abstractor", "average", "attention", "pixel-shuffle"])
@pytest.mark.parametrize("class_token", [False, True])
def test_a_batch_without_tiles_gives_zero_gradients_to_the_vision_side(kind, class_token):
    raw = DEBUG.model_dump()
    raw["connector"]["kind"] = kind
    raw["vision"] |= {"class_token": class_token, "pre_norm": class_token}
    net = model(type(DEBUG).model_validate(raw))
    out = net(packed(sample(9, 0, 0), sample(12, 0, 1)))
    F.cross_entropy(out.logits_LV, out.targets_L).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) == name.startswith("decoder."), name


def test_the_seam_names_every_sample_that_does_not_fit():
    one, two, three = sample(9, 2, 0), sample(9, 1, 1), sample(9, 0, 2)
    # The totals agree: only a check per sample sees that two tiles went to the wrong sample.
    batch = dataclasses.replace(packed(one, two, three), tile_counts=(1, 2, 0))
    with pytest.raises(ValueError) as caught:
        model()(batch)
    assert str(caught.value) == (
        "made/0: 8 image positions for 1 tiles of 4 tokens (expected 4); "
        "made/1: 4 image positions for 2 tiles of 4 tokens (expected 8)"
    )


def test_the_seam_counts_the_tiles_themselves():
    batch = packed(sample(9, 2, 0))
    with pytest.raises(ValueError, match="1 tiles for counts that sum to 2"):
        model()(dataclasses.replace(batch, tiles_NCHW=batch.tiles_NCHW[:1]))


def test_a_batch_of_another_processor_is_refused():
    batch = packed(sample(9, 2, 0))
    with pytest.raises(ValueError, match=r"are \(1, 4\), the batch's \(1, 9\)"):
        model()(dataclasses.replace(batch, tokens_per_tile=9))


def test_bfloat16_compute_keeps_fp32_parameters_and_gradients():
    net, batch = model(), packed(sample(30, 2, 0), sample(20, 3, 1))
    exact = net(batch).logits_LV
    net.compute_dtype = torch.bfloat16
    out = net(batch)
    assert out.logits_LV.dtype == torch.bfloat16
    F.cross_entropy(out.logits_LV.float(), out.targets_L).backward()
    assert {parameter.grad.dtype for parameter in net.parameters()} == {torch.float32}
    assert F.cosine_similarity(out.logits_LV.float(), exact).min() > 0.99


def test_bfloat16_parameters_work():
    net, batch = model().to(torch.bfloat16), packed(sample(30, 2, 0))
    net.compute_dtype = torch.bfloat16
    assert net(batch).logits_LV.isfinite().all()


def test_untied_head_has_its_own_matrix():
    raw = DEBUG.model_dump()
    raw["decoder"]["tied_head"] = False
    names = set(MultimodalModel(type(DEBUG).model_validate(raw)).state_dict())
    assert names - set(MultimodalModel(DEBUG).state_dict()) == {"decoder.untied_head.weight"}
