"""Tiles that were seen before are not encoded again, within a bound of memory."""

from __future__ import annotations

import pytest
import torch

from mm15.generate.engine import Engine
from mm15.generate.features import Features
from mm15.model.multimodal import MultimodalModel
from serving_fixture import made_model, made_processor, made_prompts


@pytest.fixture(scope="module")
def model() -> MultimodalModel:
    return made_model(made_processor())


def tiles(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)


def test_each_tile_is_encoded_once_and_gets_its_own_features(model):
    features, four = Features(model), tiles(4)
    mixed = four[[2, 0, 2, 1, 3, 0]]
    with torch.no_grad():
        expected = model.encode_tiles(mixed)
    torch.testing.assert_close(features.of(mixed), expected, atol=1e-5, rtol=1e-5)
    assert (features.encoded, features.reused) == (4, 2)
    torch.testing.assert_close(features.of(four), expected[[1, 3, 0, 4]], atol=1e-5, rtol=1e-5)
    assert (features.encoded, features.reused) == (4, 6)


def test_memory_is_bounded_and_the_least_used_goes(model):
    one = Features(model).of(tiles(1)).nbytes
    features, four = Features(model, max_bytes=2 * one), tiles(4)
    features.of(four[:2])
    features.of(four[:1])
    features.of(four[2:3])  # the second tile was unused for longest
    assert features.bytes == 2 * one and len(features.kept) == 2
    features.of(four[:1])
    assert features.encoded == 3
    features.of(four[1:2])
    assert features.encoded == 4
    nothing = Features(model, max_bytes=0)
    assert torch.equal(nothing.of(four), nothing.of(four)) and not nothing.kept


def test_the_same_bytes_in_another_dtype_are_another_tile(model):
    features = Features(model)
    features.of(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    features.of(torch.zeros(1, 3, 16, 16))
    assert features.encoded == 2


def test_an_engine_encodes_a_repeated_picture_once(model):
    processor = made_processor()
    prompt = made_prompts(processor, 3)[2]
    features = Features(model)
    answers = []
    for _ in range(3):
        engine = Engine(model, processor, features=features)
        answers.append(engine.result(engine.submit(prompt, 8)))
    assert answers[0] == answers[1] == answers[2]
    assert features.encoded == prompt.num_tiles
    assert features.reused == 2 * prompt.num_tiles
