import pytest

from mm15.base.config import ConfigError, validate
from mm15.model.sizes import (
    SIZES,
    ConnectorConfig,
    DecoderConfig,
    ModelConfig,
    VisionConfig,
    dfn_vit_h14,
    siglip_so400m14,
    with_vocab,
)


def test_every_size_survives_a_round_trip():
    for config in SIZES.values():
        assert ModelConfig.model_validate(config.model_dump(mode="json")) == config


def test_with_vocab_changes_nothing_else():
    config = with_vocab(SIZES["mini"], 300, 299)
    assert (config.decoder.vocab_size, config.image_token) == (300, 299)
    assert (config.vision, config.connector) == (SIZES["mini"].vision, SIZES["mini"].connector)
    with pytest.raises(ValueError, match="image_token 300 is outside the vocabulary of 300"):
        with_vocab(SIZES["mini"], 300, 300)


def test_presets_have_the_published_grids():
    assert (dfn_vit_h14().grid, dfn_vit_h14(672).grid, siglip_so400m14(672).num_patches) == (27, 48, 2304)


@pytest.mark.parametrize(
    ("schema", "change", "message"),
    [
        (VisionConfig, {"image_size": 50}, "image_size 50 is not a multiple of patch_size 8"),
        (VisionConfig, {"heads": 5}, "width 96 is not a multiple of heads 5"),
        (VisionConfig, {"width": 0}, "width: Input should be greater than 0"),
        (ConnectorConfig, {"tokens": 10}, "tokens 10 must be a perfect square"),
        (ConnectorConfig, {"kind": "attention", "hidden": 20}, "hidden 20 is not a multiple of heads 8"),
        (ConnectorConfig, {"token": 9}, "did you mean 'tokens'"),
        (DecoderConfig, {"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        (DecoderConfig, {"head_dim": 31}, "multiple of 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(schema, change, message):
    base = {VisionConfig: "vision", ConnectorConfig: "connector", DecoderConfig: "decoder"}[schema]
    raw = getattr(SIZES["mini"], base).model_dump() | change
    with pytest.raises(ConfigError, match=message):
        validate(schema, raw)
