"""Operations by hand formulas against torch's counter, on a model that is really run."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mm15.base.batch import IGNORE, PackedBatch
from mm15.model.flops import tile_costs
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES
from mm15.plan.compute import work_of

CONFIG = SIZES["debug"]
TILES, LENGTHS, TARGETS = 3, (40, 24), 17


def pack() -> PackedBatch:
    tokens, labels = torch.full((sum(LENGTHS),), 5), torch.full((sum(LENGTHS),), IGNORE)
    tokens[: TILES * CONFIG.connector.tokens] = CONFIG.image_token
    labels[-TARGETS:] = 7
    return PackedBatch(
        tokens_T=tokens,
        labels_T=labels,
        positions_T=torch.cat([torch.arange(length) for length in LENGTHS]),
        borders=(0, LENGTHS[0], sum(LENGTHS)),
        tiles_NCHW=torch.randint(0, 256, (TILES, 3, 16, 16), dtype=torch.uint8),
        tile_counts=(TILES, 0),
        image_token=CONFIG.image_token,
        tokens_per_tile=CONFIG.connector.tokens,
    )


def test_forward_and_backward_are_what_torch_counts():
    model = MultimodalModel(CONFIG)
    model.init_weights(0)
    with FlopCounterMode(display=False) as counter:
        output = model(pack())
        forward = counter.get_total_flops()
        output.logits_LV.float().sum().backward()
    # On a CPU two segments of 40 and 24 are two buckets, padded to 64 and 32, whose squares are computed whole.
    squares = 64**2 + 32**2
    work = work_of(CONFIG, 16, sum(LENGTHS), TILES, squares, TARGETS)
    assert forward == work.forward
    # The pixels need no gradient: one product less, that of the first layer with its input.
    vision = CONFIG.vision
    first = 2 * TILES * vision.num_patches * 3 * vision.patch_size**2 * vision.width
    counts = counter.get_flop_counts()["Global"]
    # torch counts the way back through a depthwise convolution as if every channel met every other: twice forward is
    # right.
    forth, back = (counts[op] for op in (torch.ops.aten.convolution, torch.ops.aten.convolution_backward))
    assert counter.get_total_flops() - back + 2 * forth == work.training - first


def test_by_hand_for_the_decoder_and_head():
    decoder = CONFIG.decoder
    one_layer = 48 * 16 * (4 + 2 * 2) + 4 * 16 * 48 + 3 * 48 * 80
    work = work_of(CONFIG, 16, tokens=10, tiles=0, pairs=55, targets=4)
    whole, last = 2 * one_layer * decoder.layers * 10, 2 * 3 * 48 * 80 * (10 - 4)
    assert work.decoder == whole - last + 4 * decoder.layers * 4 * 16 * 55
    assert work.head == 2 * 48 * 64 * 4
    assert work.vision == work.connector == 0


def test_a_token_meets_two_of_the_experts():
    dense, sparse = (work_of(SIZES[name], 64, 100, 0, 0, 100) for name in ("mini", "mini-moe"))
    # One of three layers has experts: a second network per position, and the router.
    assert sparse.decoder - dense.decoder == 2 * 100 * (3 * 128 * 352 + 8 * 128)


@pytest.mark.parametrize(("tile", "tera"), [(378, 1.01), (672, 3.78)])
def test_the_papers_encoder_costs_what_is_known_of_it(tile: int, tera: float):
    vision, connector = tile_costs(SIZES["3b"], tile)
    assert vision / 1e12 == pytest.approx(tera, rel=0.02)
    assert 0 < connector < vision / 10
