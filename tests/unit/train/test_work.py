"""The FLOPs of a step, against torch's own counter on the real forward."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mm15.model.flops import labelled_flops, tile_costs
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, DecoderConfig, MoEConfig
from mm15.train.encoder import EncoderModel, LabelSet
from mm15.train.work import StepWork
from training_fixture import CONFIG, debug_model, random_pack


def decoder_flops(config: DecoderConfig, lengths: list[int], targets: int) -> float:
    seen = sum(sum(min(place + 1, config.window or place + 1) for place in range(length)) for length in lengths)
    return sum(labelled_flops(config, sum(lengths), seen, targets))


def products(counter: FlopCounterMode) -> int:
    """Of projections and networks. Attention is another product (a batched one), counted as if all saw all."""
    counts = counter.get_flop_counts()["Global"]
    return sum(flops for name, flops in counts.items() if str(name) in ("aten.mm", "aten.addmm"))


@pytest.mark.parametrize("window", [None, 5])
def test_products_of_the_decoder_are_those_that_torch_counts(window: int | None):
    decoder = CONFIG.decoder.model_copy(update={"window": window, "layers": 3})
    model = MultimodalModel(CONFIG.model_copy(update={"decoder": decoder}))
    model.init_weights(0)
    batch = random_pack(2, samples=3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch)
    lengths = [b - a for a, b in zip(batch.borders, batch.borders[1:], strict=False)]
    with torch.no_grad(), FlopCounterMode(display=False) as tiles:
        model.encode_tiles(batch.tiles_NCHW)
    seen = sum(sum(min(place + 1, window or place + 1) for place in range(length)) for length in lengths)
    attention = 4 * decoder.layers * decoder.heads * decoder.head_dim * seen
    ours = decoder_flops(decoder, lengths, batch.num_targets)
    assert batch.num_targets > 0 and len(batch.tiles_NCHW) > 0
    assert ours - attention == products(counter) - products(tiles)


def test_experts_count_as_many_as_a_token_meets():
    dense = CONFIG.decoder
    moe = MoEConfig(experts=4, top_k=2, every=1)
    few = decoder_flops(dense.model_copy(update={"moe": moe}), [10, 7], 17)
    many = decoder_flops(dense.model_copy(update={"moe": moe.model_copy(update={"experts": 8})}), [10, 7], 17)
    assert many - few == 2 * 17 * dense.layers * 4 * dense.width  # the router alone
    assert decoder_flops(dense, [10, 7], 17) < few


def test_a_tile_of_another_size_and_a_pack_without_tiles():
    side = CONFIG.vision.image_size
    small, large = tile_costs(CONFIG, side), tile_costs(CONFIG, 2 * side)
    assert large[0] > 4 * small[0]  # four times the patches, and attention between them
    texts = next(random_pack(n, 1) for n in range(20) if random_pack(n, 1).tiles_NCHW.shape[0] == 0)
    length = texts.tokens_T.numel()
    assert StepWork(debug_model())(texts) == 3 * decoder_flops(CONFIG.decoder, [length], texts.num_targets)


def test_what_is_frozen_costs_less():
    model = debug_model()
    assert StepWork(model).factors == [3, 3, 3]
    for parameter in model.vision.parameters():
        parameter.requires_grad_(False)
    assert StepWork(model).factors == [1, 3, 3]
    for parameter in model.decoder.parameters():
        parameter.requires_grad_(False)
    assert StepWork(model).factors == [1, 3, 2]
    batch = random_pack(3, 2)
    vision, connector = tile_costs(CONFIG, CONFIG.vision.image_size)
    lengths = [b - a for a, b in zip(batch.borders, batch.borders[1:], strict=False)]
    tiles = len(batch.tiles_NCHW)
    wanted = tiles * (vision + 3 * connector) + 2 * decoder_flops(CONFIG.decoder, lengths, batch.num_targets)
    assert StepWork(model)(batch) == wanted


def test_the_encoder_stage_counts_its_answers():
    labels = LabelSet(("cat", "dog"), ("red",))
    model = EncoderModel(debug_model(), labels, {1: [5]})
    batch = next(random_pack(n, 1) for n in range(20) if random_pack(n, 1).tiles_NCHW.shape[0] == 2)
    towers = sum(tile_costs(SIZES["debug"], CONFIG.vision.image_size))
    answers = 2 * CONFIG.connector.tokens * (model.head.weight.numel() + CONFIG.decoder.width * labels.size)
    assert StepWork(model)(batch) == 3 * 2 * (towers + answers)
