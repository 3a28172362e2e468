"""The encoder's dense labels lie where the things lie, on every tile; its model answers at exactly those places."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Category, ImagePart, MediaRef, Sample, assistant, user
from mm15.images.split import SplitMode, SplitPolicy, tile_layout
from mm15.model.layers import roll_half
from mm15.model.multimodal import MultimodalModel
from mm15.text.tokenizer import train_tokenizer
from mm15.train.encoder import (
    ALIGNED,
    EDGE_BINS,
    LEGIBLE,
    QUESTIONS,
    DenseProcessor,
    EncoderModel,
    LabelSet,
    word_ids,
)
from training_fixture import CONFIG, debug_model

LABELS = LabelSet(classes=("A", "dog", "star"), colours=("blue", "red"))
WORDS = {1: [5], 2: [6, 7], 5: [8]}
"""Token ids of "A", "dog" and "red"; "star" and "blue" are spelt."""
FIRST_BIN = 1 + 3 + 2
A, DOG, STAR, BLUE, RED = 1, 2, 3, 4, 5
POLICY = SplitPolicy(tile=16)
WIDE = {
    "objects": [{"name": "star", "box": [21, 5, 29, 13], "color": "red"}],
    "chars": [["A", 9, 19, 25, 29]],
}


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(numpy_rng(0, width, height).integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def made(width: int, height: int, meta: dict, key: str = "set/0", stated: bool = True) -> Sample:
    size = (width, height) if stated else ()
    image = ImagePart(MediaRef(data=png(width, height)), *size)
    return Sample(key, "set", Category.CAPTION, (user(image), assistant("words")), meta)


def labels_of(encoded: EncodedSample, side: int = 4) -> torch.Tensor:
    """[N, rows, columns, Q]"""
    return encoded.labels_T.reshape(-1, side, side, len(QUESTIONS))


def answer(label: int, colour: int, left: int, top: int, right: int, bottom: int) -> list[int]:
    return [label, colour, *(FIRST_BIN + bin for bin in (left, top, right, bottom)), IGNORE, *aligned(label, colour)]


def aligned(label: int, colour: int) -> list[int]:
    """What the token is asked once more in words: nothing where there is no thing or no colour."""
    return [told or IGNORE for told in (label, colour)]


def no_edges(values: list[int]) -> list[int]:
    """Every other row of patches of a box tells its edges; this is the answer of the rows between."""
    return [*values[:2], *[IGNORE] * 5, *values[7:]]


def background(tiles: int) -> torch.Tensor:
    """Nothing lies there: one patch in eight says so."""
    labels = torch.full((tiles, 4, 4, len(QUESTIONS)), IGNORE)
    for row, column in [(row, column) for row in range(4) for column in range(4) if (row + 3 * column) % 8 == 0]:
        labels[:, row, column, 0] = 0
    return labels


def expect(encoded: EncodedSample, tiles: dict[int, dict[tuple[int, int], list[int]]]) -> None:
    """The labels are these at (tile, (patch row, patch column)), and background everywhere else."""
    wanted = background(encoded.num_tiles)
    for tile, patches in tiles.items():
        for (row, column), values in patches.items():
            wanted[tile, row, column] = torch.tensor(values)
    # One patch of four asks for the word of the token that they share.
    wanted[:, 1::2, :, ALIGNED:] = wanted[:, :, 1::2, ALIGNED:] = IGNORE
    assert torch.equal(labels_of(encoded), wanted)


def test_labels_lie_on_the_patches_of_tiles_and_overview():
    # 48 x 32 px at scale 1: tiles (1,1) (1,2) (1,3) (2,1) (2,2) (2,3), then the overview at scale 1/3.
    assert [tuple(slot) for slot in tile_layout(32, 48, POLICY)] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 3),
        (0, 0),
    ]
    encoded = DenseProcessor(LABELS, [POLICY], patch=4).encode(made(48, 32, WIDE))
    star = answer(STAR, RED, left=5, top=5, right=13, bottom=13)  # (5, 5, 13, 13) of 16 px, in sixteenths
    letter = [A, *[IGNORE] * 5, A, *aligned(A, 0)]  # (9, 3, 16, 13) of its left tile, (0, 3, 9, 13) of its right one
    left_half = [A, *[IGNORE] * 6, *aligned(A, 0)]
    expect(
        encoded,
        {
            1: {(row, column): values for row, values in ((1, star), (2, no_edges(star))) for column in (1, 2)},
            3: {(row, column): letter for row in (1, 2) for column in (2, 3)},
            4: {(row, column): letter if column < 2 else left_half for row in (1, 2) for column in (0, 1, 2)},
            6: {
                (0, 2): answer(STAR, RED, left=7, top=1, right=9, bottom=4),  # (7, 1.7, 9.7, 4.3)
                (2, 2): [IGNORE] * len(QUESTIONS),  # (3, 6.3, 8.3, 9.7): too small to read, and not background either
            },
        },
    )


def test_a_character_is_labelled_from_the_height_at_which_it_can_be_read():
    for height, label in ((LEGIBLE, A), (LEGIBLE - 1, IGNORE)):
        encoded = DenseProcessor(LABELS, [POLICY], patch=4).encode(
            made(48, 32, {"chars": [["A", 4, 4, 12, 4 + height]]})
        )
        assert labels_of(encoded)[0, 1, 1:3, :ALIGNED].tolist() == [[label, *[IGNORE] * 5, label]] * 2


def test_the_overview_first_has_the_same_labels_first():
    after = DenseProcessor(LABELS, [POLICY], patch=4).encode(made(48, 32, WIDE))
    before = DenseProcessor(LABELS, [POLICY.model_copy(update={"overview": "before"})], patch=4).encode(
        made(48, 32, WIDE)
    )
    assert torch.equal(labels_of(before), labels_of(after).roll(1, 0))
    assert torch.equal(before.tiles_NCHW, after.tiles_NCHW.roll(1, 0))


def test_an_unsplit_tall_picture_is_scaled_by_its_longer_side():
    # 20 x 40 px into 16 x 16: scale 0.4, the right half is padding.
    whole = SplitPolicy(tile=16, mode="none")  # type: ignore[arg-type]
    meta = {"objects": [{"name": "dog", "box": [11, 21, 20, 40]}]}
    encoded = DenseProcessor(LABELS, [whole], patch=4).encode(made(20, 40, meta))
    dog = answer(DOG, 0, left=4, top=8, right=8, bottom=EDGE_BINS - 1)  # (4.4, 8.4, 8, 16)
    expect(encoded, {0: {(2, 1): dog, (3, 1): no_edges(dog)}})


def test_later_entries_lie_on_top_and_slivers_do_not_count():
    meta = {
        "objects": [{"name": "dog", "box": [0, 0, 16, 16]}, {"name": "star", "box": [5, 5, 7, 7], "color": "blue"}],
        # Less than a pixel of it reaches into the next tile.
        "chars": [["A", 33, 1, 48.5, 15]],
    }
    encoded = DenseProcessor(LABELS, [POLICY], patch=4).encode(made(64, 32, meta))
    labels = labels_of(encoded)[..., :ALIGNED]
    assert [tuple(slot) for slot in tile_layout(32, 64, POLICY)][:4] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert labels[0, 1, 1].tolist() == answer(STAR, BLUE, left=5, top=5, right=7, bottom=7)[:ALIGNED], (
        "thinner than a patch"
    )
    dog = torch.tensor(answer(DOG, 0, left=0, top=0, right=EDGE_BINS - 1, bottom=EDGE_BINS - 1)[:ALIGNED])
    assert (labels[0, ::2] == dog).all(-1).sum() == 8
    assert (labels[0, 1::2, :, :2] == dog[:2]).all(-1).sum() == 7
    for tile in (1, 3, 4, 5, 6, 7):
        assert torch.equal(labels[tile], background(1)[0, ..., :ALIGNED]), tile


def test_every_policy_is_used_by_some_pictures_and_always_the_same_one():
    policies = [POLICY, SplitPolicy(tile=16, mode="static"), SplitPolicy(tile=16, mode="none")]  # type: ignore[arg-type]
    processor = DenseProcessor(LABELS, policies, patch=4)
    tiles = {}
    for number in range(30):
        sample = made(48 + number, 32, WIDE, key=f"set/{number}")
        encoded, cost = processor.encode(sample), processor.count(sample)
        assert (encoded.num_tokens, encoded.num_tiles) == cost
        assert (
            encoded.num_tokens
            == encoded.num_tiles * processor.tokens_per_tile
            == encoded.num_tiles * 4 * 4 * len(QUESTIONS)
        )
        assert (encoded.tokens_T == processor.image_token).all()
        assert torch.equal(processor.encode(sample).labels_T, encoded.labels_T)
        tiles[number] = encoded.num_tiles
    assert {1, 5} < set(tiles.values()) and any(count >= 7 for count in tiles.values())


def test_fingerprint_follows_labels_and_policies():
    first = DenseProcessor(LABELS, [POLICY], patch=4).fingerprint
    assert first == DenseProcessor(LABELS, [POLICY], patch=4).fingerprint
    others = [
        DenseProcessor(replace(LABELS, classes=("A", "dog")), [POLICY], patch=4),
        DenseProcessor(LABELS, [POLICY.model_copy(update={"n_max": 8})], patch=4),
        DenseProcessor(LABELS, [POLICY], patch=8),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 4


def test_labels_are_collected_from_rows():
    rows = [
        WIDE,
        {"chars": [["dog", 0, 0, 3, 3]]},
        {"objects": [{"name": "A", "box": [0, 0, 9, 9], "color": "blue"}]},
        {},
    ]
    assert LabelSet.of(rows) == LABELS
    assert LABELS.first_bin == FIRST_BIN and LABELS.size == FIRST_BIN + EDGE_BINS


@pytest.mark.parametrize("meta", [{}, {"objects": [], "chars": []}])
def test_a_sample_without_labels_is_skipped_by_name(meta: dict):
    processor = DenseProcessor(LABELS, [POLICY], patch=4)
    for work in (processor.count, processor.encode):
        with pytest.raises(SkipSample, match=r"set/7: .*'objects' or 'chars'"):
            work(made(48, 32, meta, key="set/7"))


def test_a_sample_of_two_pictures_or_of_unknown_size_is_skipped():
    processor = DenseProcessor(LABELS, [POLICY], patch=4)
    sample = made(48, 32, WIDE)
    two = replace(sample, messages=(user(*sample.images, *sample.images), assistant("words")))
    with pytest.raises(SkipSample, match="one picture"):
        processor.count(two)
    with pytest.raises(SkipSample, match="width and height"):
        processor.count(made(48, 32, WIDE, stated=False))


def test_the_model_answers_at_labelled_places_from_their_own_tile():
    processor = DenseProcessor(LABELS, [POLICY], patch=4)
    samples = [processor.encode(made(48, 32, WIDE)), processor.encode(made(32, 48, WIDE, key="set/1"))]
    batch = pack(samples, processor.image_token, processor.tokens_per_tile)
    batch.check()
    whole = debug_model()
    model = EncoderModel(whole, LABELS, WORDS, seed=3)
    output = model(batch)
    assert torch.equal(output.positions_L, (batch.labels_T != IGNORE).nonzero().flatten())
    assert torch.equal(output.targets_L, batch.labels_T[output.positions_L])
    assert output.logits_LV.shape == (len(output.positions_L), LABELS.size)

    tiles_NCHW = batch.tiles_NCHW.clone()
    tiles_NCHW[8] = 255 - tiles_NCHW[8]
    changed = (model(replace(batch, tiles_NCHW=tiles_NCHW)).logits_LV - output.logits_LV).abs().amax(-1) > 0
    in_tile_8 = output.positions_L // processor.tokens_per_tile == 8
    assert torch.equal(changed, in_tile_8) and in_tile_8.any()

    again = EncoderModel(whole, LABELS, WORDS, seed=3)
    assert torch.equal(again.head.weight, model.head.weight), "the head follows the seed"


def test_each_token_answers_for_the_patches_it_was_pooled_from(monkeypatch: pytest.MonkeyPatch):
    labels = LabelSet(classes=(), colours=())
    monkeypatch.setattr("mm15.train.encoder.EDGE_BINS", 2)
    model = EncoderModel(debug_model(), labels, {})
    # The head copies out which token, and which of its patches, an answer came from.
    tokens, patches = model.pooled**2, model.patches**2
    assert (tokens, patches) == (4, 4)
    monkeypatch.setattr(model.vision, "forward", lambda tiles, dtype: torch.zeros(1, 16, 1))
    monkeypatch.setattr(model.connector, "forward", lambda x: torch.arange(4.0)[None, :, None])
    monkeypatch.setattr(model, "_nearest_words", lambda tokens: torch.zeros(1, 4, 3))
    model.head = torch.nn.Linear(1, patches * ALIGNED * 3)
    with torch.no_grad():
        model.head.weight.fill_(10.0)
        model.head.bias.copy_(torch.arange(4.0).repeat_interleave(ALIGNED * 3))
    whole = SplitPolicy(tile=16, mode=SplitMode.NONE)
    sample = DenseProcessor(LABELS, [whole], patch=4).encode(made(30, 31, WIDE))
    everything = replace(sample, labels_T=torch.zeros_like(sample.labels_T))
    logits = model(pack([everything], -1, 16 * len(QUESTIONS))).logits_LV
    told = logits[:, 0].reshape(4, 4, len(QUESTIONS))[..., 0]
    assert told.tolist() == [[0, 1, 10, 11], [2, 3, 12, 13], [20, 21, 30, 31], [22, 23, 32, 33]]


def test_tokens_that_are_no_square_of_patches_are_refused():
    connector = CONFIG.connector.model_copy(update={"tokens": 9})
    odd = MultimodalModel(CONFIG.model_copy(update={"connector": connector}))
    with pytest.raises(ConfigError, match="4 x 4 patches in equal squares, not 9 tokens"):
        EncoderModel(odd, LABELS, WORDS)


def test_a_token_is_asked_in_the_words_of_the_decoder():
    model = EncoderModel(debug_model(), LABELS, WORDS)
    embedding_WD = model.embedding.weight.detach()
    dog_D = embedding_WD[[6, 7]].mean(0)
    nearest_V = model._nearest_words(roll_half(dog_D)[None, None])[0, 0]
    assert nearest_V.argmax() == 2
    torch.testing.assert_close(nearest_V[2], dog_D.square().sum() / dog_D.square().mean().sqrt(), rtol=1e-3, atol=0)
    assert (nearest_V[[0, 3, 4, *range(6, LABELS.size)]] < -1e3).all(), "what is no word is never the nearest"
    nearest_V[2].backward()
    assert model.embedding.weight.grad is not None and model.embedding.weight.grad[[6, 7]].abs().sum() > 0


def test_words_are_labels_that_are_one_token():
    tokenizer = train_tokenizer(["A dogstar"], [], [" dog", "dog", " red"])
    ids = word_ids(LABELS, tokenizer)
    spelt = {label: [tokenizer.decode([index]) for index in found] for label, found in ids.items()}
    assert spelt == {1: ["A"], 2: ["dog", " dog"], 5: [" red"]}
