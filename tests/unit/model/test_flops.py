"""Sizes as published, and operations as they are counted while a model runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mm15.base.batch import pack
from mm15.model import experts
from mm15.model.flops import Splitting, describe, on_meta, papers_splittings, prompt_flops, tile_flops, weigh
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, ConnectorConfig, MoEConfig, dfn_vit_h14, with_experts
from unit.model.made import DEBUG, sample

PUBLISHED = {"1b": 1.2e9, "3b": 2.9e9, "7b": 6.4e9, "30b": 30e9}
PUBLISHED_MOE = {"3b-moe": 64e9, "7b-moe": 47e9}
ESTIMATED_MOE = {"1b-moe": 26e9}
ACTIVE = {"1b-moe": 1.6e9, "3b-moe": 3.9e9, "7b-moe": 7.7e9}


@pytest.mark.parametrize("name", PUBLISHED)
def test_dense_decoders_have_the_published_sizes(name):
    numbers = describe(SIZES[name], [])
    assert numbers.components["decoder"].total - numbers.embedding == pytest.approx(PUBLISHED[name], rel=0.01)
    assert numbers.active == numbers.total
    assert numbers.components["vision"].total == pytest.approx(632e6, rel=0.01)


@pytest.mark.parametrize("name", [*PUBLISHED_MOE, *ESTIMATED_MOE])
def test_mixtures_of_experts_have_the_published_sizes_and_their_twins_shape(name):
    config, dense = SIZES[name], SIZES[name.removesuffix("-moe")]
    decoder = describe(config, []).components["decoder"]
    if name in PUBLISHED_MOE:
        assert decoder.total == pytest.approx(PUBLISHED_MOE[name], rel=0.01)
    else:
        assert decoder.total == pytest.approx(ESTIMATED_MOE[name], rel=0.02)
    assert decoder.active - describe(config, []).embedding == pytest.approx(ACTIVE[name], rel=0.02)
    assert config.decoder.moe is not None
    assert with_experts(dense, config.decoder.moe) == config
    assert (config.decoder.moe.experts, config.decoder.moe.every) == ((32, 4) if name == "7b-moe" else (64, 2))
    with_them = [hasattr(block.mlp, "router") for block in on_meta(config).decoder.blocks]
    assert with_them == [(layer + 1) % config.decoder.moe.every == 0 for layer in range(config.decoder.layers)]


def test_a_tile_of_the_papers_encoder_costs_what_it_must():
    # 2 x 630 M weights x 2305 positions, and 4 x 32 layers x 1280 x 2305^2 of attention; the connector on top.
    encoder = 2 * 32 * 12 * 1280**2 * 2305 + 4 * 32 * 1280 * 2305**2
    assert tile_flops(SIZES["3b"], 672) == pytest.approx(encoder, rel=0.03)
    assert tile_flops(SIZES["3b"], 672) > encoder
    cuts = papers_splittings(SIZES["3b"])
    assert [(cut.tile, cut.least, cut.most) for cut in cuts] == [(378, 1, 1), (672, 5, 5), (672, 5, 10), (672, 1, 1)]


@pytest.mark.parametrize("moe", [None, MoEConfig(experts=4, every=2, mlp_width=24), MoEConfig(experts=4, every=1)])
def test_the_decoders_operations_are_those_of_a_run(moe, monkeypatch):
    monkeypatch.setattr(experts, "groups_on", lambda x_TD, down: False)  # torch does not count its grouped product
    config = DEBUG if moe is None else with_experts(DEBUG, moe)
    model = MultimodalModel(config)
    model.init_weights(0)
    batch = pack([sample(60, 0)], config.image_token, config.connector.tokens)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            model.hidden(batch)
        tokens = len(batch.tokens_T)
        # Attention is written out with whole rows here, where a causal kernel skips half.
        whole = 4 * config.decoder.layers * config.decoder.heads * config.decoder.head_dim
        aligned = 64
        expected = prompt_flops(config.decoder, tokens) + whole * (aligned**2 - tokens * (tokens + 1) // 2)
    assert counter.get_total_flops() == expected


def test_a_description_adds_up():
    config = with_experts(DEBUG, MoEConfig(experts=4, every=2))
    cut = Splitting("mine", DEBUG.vision.image_size, 2, 3)
    numbers = describe(config, [cut])
    model = MultimodalModel(config)
    assert numbers.total == sum(parameter.numel() for parameter in model.parameters())
    mlp = model.decoder.blocks[1].mlp
    idle = (mlp.gate_up.weight.numel() + mlp.down.weight.numel()) // 2
    assert numbers.active == numbers.total - idle
    assert weigh(model.decoder).total == numbers.components["decoder"].total
    assert numbers.embedding == DEBUG.decoder.vocab_size * DEBUG.decoder.width
    (cost,) = numbers.pictures
    assert cost.tokens == (2 * DEBUG.connector.tokens, 3 * DEBUG.connector.tokens)
    assert cost.encoder_flops[1] * 2 == cost.encoder_flops[0] * 3
    assert numbers.training_bytes == 16 * numbers.total
    assert numbers.serving_bytes["bf16"] == 2 * numbers.total
    cache = model.new_cache(1, 64)
    held = sum(layer.numel() for layer in cache.layers)
    assert numbers.cache_bytes * cache.num_pages * cache.page == 2 * held


def test_papers_sizes_are_what_was_published():
    for name in (*PUBLISHED, *PUBLISHED_MOE, *ESTIMATED_MOE):
        config = SIZES[name]
        assert config.vision == dfn_vit_h14(378)
        assert config.connector == ConnectorConfig(tokens=144)
        if config.decoder.moe is not None:
            moe = config.decoder.moe
            assert (moe.top_k, moe.balance_loss, moe.z_loss, moe.capacity) == (2, 0.01, 0.001, 2.0)
