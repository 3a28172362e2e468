import pytest
import torch
import torch.nn.functional as F

from mm15.model.layers import init_weights
from mm15.model.sizes import SIZES, VisionConfig
from mm15.model.vit import VisionTransformer, patchify, resize_positions

CONFIG = SIZES["debug"].vision


def vit(config=CONFIG):
    made = VisionTransformer(config)
    init_weights(made, 0)
    return made


def test_patchify_and_linear_equal_the_strided_convolution():
    images, weight = torch.randn(2, 3, 12, 20), torch.randn(7, 3, 4, 4)
    expected = F.conv2d(images, weight, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patchify(images, 4) @ weight.flatten(1).T, expected, atol=1e-4, rtol=1e-4)


def test_bytes_are_normalised_and_floats_are_not():
    config = CONFIG.model_copy(update={"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)})
    tiles = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    mean, std = torch.tensor(config.mean)[:, None, None], torch.tensor(config.std)[:, None, None]
    net = vit(config)
    torch.testing.assert_close(net(tiles), net((tiles / 255 - mean) / std), atol=1e-5, rtol=1e-5)
    assert tiles.dtype == torch.uint8


def test_class_token_is_seen_but_not_returned():
    net = vit(CONFIG.model_copy(update={"class_token": True}))
    tiles = torch.randn(2, 3, 16, 16)
    before = net(tiles)
    assert before.shape == (2, 16, 32)
    with torch.no_grad():
        net.class_token.weight.add_(1.0)
    assert not torch.allclose(before, net(tiles))


def test_tiles_do_not_see_each_other():
    net, tiles = vit(), torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(net(tiles)[1:2], net(tiles[1:2]), atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_near_fp32():
    net, tiles = vit(), torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    low = net(tiles, torch.bfloat16)
    assert low.dtype == torch.bfloat16
    assert (low.float() - net(tiles)).abs().max() < 0.1


def test_wrong_tile_size_is_refused():
    with pytest.raises(ValueError, match=r"tiles \(1, 3, 16, 20\) must be \[N, 3, 16, 16\]"):
        vit()(torch.zeros(1, 3, 16, 20))


def test_positions_are_resized_smoothly_and_the_class_row_is_kept():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    plane = torch.stack([rows, 10 * columns], dim=-1).view(36, 2)
    table = torch.cat([torch.tensor([[-7.0, 7.0]]), plane])
    larger = resize_positions(table, 6, 12)
    assert torch.equal(larger[0], table[0])
    # Corners are not aligned: row k of 12 lies at (k + 0.5) / 2 - 0.5 of the old grid (bicubic bends a ramp a little).
    inner = larger[1:].view(12, 12, 2)[4:8, 4:8]
    expected = torch.tensor([1.75, 2.25, 2.75, 3.25])
    torch.testing.assert_close(inner[:, 0, 0], expected, atol=0.05, rtol=0)
    torch.testing.assert_close(inner[0, :, 1], 10 * expected, atol=0.5, rtol=0)


def test_positions_resize_equals_interpolate_both_ways():
    table = torch.randn(49, 5, dtype=torch.bfloat16)
    image = table.float().view(7, 7, 5).permute(2, 0, 1)[None]
    for grid, antialias in ((12, False), (4, True)):
        expected = F.interpolate(image, size=(grid, grid), mode="bicubic", antialias=antialias)
        found = resize_positions(table, 7, grid)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected[0].permute(1, 2, 0).reshape(-1, 5).bfloat16())
    assert torch.equal(resize_positions(table.float(), 7, 7), table.float())


def test_positions_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="51 rows is not a 7 x 7 grid"):
        resize_positions(torch.zeros(51, 4), 7, 8)


def test_resized_table_serves_a_larger_encoder():
    small = vit()
    large = VisionTransformer(VisionConfig.model_validate(CONFIG.model_dump() | {"image_size": 24}))
    state = small.state_dict()
    state["positions.weight"] = resize_positions(state["positions.weight"], small.config.grid, large.config.grid)
    large.load_state_dict(state)
    assert large(torch.zeros(1, 3, 24, 24)).shape == (1, 36, 32)
