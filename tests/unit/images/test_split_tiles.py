"""Splitting: counts from sizes, order of tiles, padding, and the rules around it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from mm15.base.rng import python_rng
from mm15.images.split import Overview, Reading, SplitMode, SplitPolicy, choose_grid, split_image, tile_layout
from mm15.images.tensors import to_tensor

POLICIES = [
    SplitPolicy(tile=16),
    SplitPolicy(tile=16, reading=Reading.B),
    SplitPolicy(tile=16, n_min=1, n_max=4, overview=Overview.BEFORE),
    SplitPolicy(tile=16, n_max=16, tolerance=1, overview=Overview.NONE),
    SplitPolicy(tile=16, mode=SplitMode.STATIC, overview=Overview.BEFORE),
    SplitPolicy(tile=16, mode=SplitMode.NONE),
]


def sizes(count, *key):
    rng = python_rng(7, *key)
    for _ in range(count):
        height, width = rng.randint(1, 200), rng.randint(1, 200)
        yield height, width + (height == width)


def reference_grid(h, w, n_min, n_max, r, tol):
    """The definition with reading A, written out over all grids."""
    best = None
    for nh in range(1, n_max + 1):
        for nw in range(1, n_max + 1):
            n = nh * nw
            if not n_min <= n <= n_max:
                continue
            s = nw * r / w if w >= h else nh * r / h
            hg, wg = round(h * s), round(w * s)
            if hg > nh * r + tol or wg > nw * r + tol:
                continue
            pad = round(n * r * r - h * s * w * s)
            key = (0, pad, n, abs(nh - nw)) if s >= 1 else (1, -s, pad, n)
            if best is None or key < best[0]:
                best = (key, nh, nw)
    return best[1:]


def two_colors(width, height):
    """Red on the left half, blue on the right."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("n_min, n_max, r, tol", [(4, 9, 672, 0), (1, 9, 48, 0), (4, 16, 64, 1), (8, 8, 378, 0)])
def test_agrees_with_the_definition(n_min, n_max, r, tol):
    policy = SplitPolicy(tile=r, n_min=n_min, n_max=n_max, tolerance=tol)
    rng = python_rng(3, n_min, n_max)
    for _ in range(400):
        height, width = rng.randint(1, 5000), rng.randint(1, 5000)
        grid = choose_grid(height, width, policy)
        assert (grid.rows, grid.cols) == reference_grid(height, width, n_min, n_max, r, tol), (height, width)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("images_in_sample", [1, 2, 3])
def test_tiles_are_those_the_size_announces(policy, images_in_sample):
    for height, width in sizes(60, policy, images_in_sample):
        tiles = split_image(Image.new("RGB", (width, height)), policy, images_in_sample)
        assert tiles.tiles_NCHW.shape == (len(tiles.slots), 3, 16, 16)
        assert list(tiles.slots) == tile_layout(height, width, policy, images_in_sample)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_resized_picture_lies_in_its_grid(policy):
    for height, width in [*sizes(200, policy), (1, 20000), (20000, 1), (1, 2)]:
        grid = choose_grid(height, width, policy)
        assert 1 <= grid.height <= grid.rows * 16 and 1 <= grid.width <= grid.cols * 16
        assert grid.covers == (grid.scale >= 1)


@pytest.mark.parametrize("policy", POLICIES[:4])
def test_a_transposed_picture_has_the_transposed_grid(policy):
    for height, width in sizes(300, policy):
        grid, turned = choose_grid(height, width, policy), choose_grid(width, height, policy)
        assert (turned.rows, turned.cols, turned.height, turned.width) == (
            grid.cols,
            grid.rows,
            grid.width,
            grid.height,
        )


def test_tiles_come_row_by_row_with_the_overview_where_the_policy_says():
    policy = SplitPolicy(tile=16)
    rows = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert tile_layout(200, 300, policy) == [*rows, (0, 0)]
    assert tile_layout(200, 300, policy.model_copy(update={"overview": Overview.BEFORE})) == [(0, 0), *rows]
    assert tile_layout(200, 300, policy.model_copy(update={"overview": Overview.NONE})) == rows


def test_three_images_in_a_sample_are_not_split():
    policy = SplitPolicy(tile=16)
    assert len(tile_layout(21, 28, policy, images_in_sample=2)) == 5
    assert tile_layout(21, 28, policy, images_in_sample=3) == [(0, 0)]
    tiles = split_image(two_colors(40, 30), policy, images_in_sample=3)
    assert (tiles.grid.height, tiles.grid.width) == (12, 16)
    assert tiles.tiles_NCHW[0, :, 12:].flatten(1).unique(dim=1).flatten().tolist() == [123, 117, 104]


@pytest.mark.parametrize("overview, start, whole", [(Overview.AFTER, 0, 4), (Overview.BEFORE, 1, 0)])
def test_tiles_hold_the_part_of_the_picture_their_slot_names(overview, start, whole):
    policy = SplitPolicy(tile=16, overview=overview, pad_color=(9, 8, 7))
    tiles = split_image(two_colors(28, 21), policy)
    assert (tiles.grid.rows, tiles.grid.cols, tiles.grid.height, tiles.grid.width) == (2, 2, 24, 32)
    upper_left, upper_right, lower_left, lower_right = tiles.tiles_NCHW[start : start + 4].numpy()
    red, blue, pad = (np.array(color).reshape(3, 1, 1) for color in [(255, 0, 0), (0, 0, 255), (9, 8, 7)])
    # Bicubic reaches two pixels over the border between the colours.
    assert (upper_left[:, :, :14] == red).all() and (upper_right[:, :, 2:] == blue).all()
    assert (lower_left[:, :8, :14] == red).all() and (lower_left[:, 8:] == pad).all()
    assert (lower_right[:, :8, 2:] == blue).all() and (lower_right[:, 8:] == pad).all()
    picture = tiles.tiles_NCHW[whole].numpy()
    assert (
        (picture[:, :12, :6] == red).all() and (picture[:, :12, 10:] == blue).all() and (picture[:, 12:] == pad).all()
    )


def test_a_picture_that_needs_no_resizing_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    tiles = split_image(Image.fromarray(pixels), SplitPolicy(tile=16, overview=Overview.NONE)).tiles_NCHW.numpy()
    assert len(tiles) == 6
    for index, (row, col) in enumerate((row, col) for row in range(2) for col in range(3)):
        part = pixels[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16]
        assert (tiles[index] == part.transpose(2, 0, 1)).all()


def test_reading_b_keeps_to_the_squarer_grid_on_ties():
    grid = choose_grid(40, 160, SplitPolicy(tile=16, n_min=8, n_max=8, reading=Reading.B))
    assert (grid.rows, grid.cols) == (2, 4)


@pytest.mark.parametrize("height, width", [(0, 5), (5, 0), (-1, 3)])
@pytest.mark.parametrize("images_in_sample", [1, 3])
def test_empty_pictures_are_refused(height, width, images_in_sample):
    with pytest.raises(ValueError, match=f"{height} x {width} px"):
        tile_layout(height, width, SplitPolicy(), images_in_sample)


@pytest.mark.parametrize(
    "fields", [{"n_min": 5, "n_max": 4}, {"n_min": 0}, {"tile": 0}, {"tolerance": -1}, {"pad_color": (0, 0, 256)}]
)
def test_policies_that_make_no_sense_are_refused(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        SplitPolicy(**fields)


@pytest.mark.parametrize("policy", POLICIES)
def test_pixels_are_cut_like_the_picture_they_come_from(policy):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (37, 61, 3), dtype=np.uint8))
    from_image, from_pixels = split_image(image, policy), split_image(to_tensor(image), policy)
    assert from_pixels.slots == from_image.slots and from_pixels.grid == from_image.grid
    assert (from_pixels.tiles_NCHW == from_image.tiles_NCHW).all() and from_pixels.tiles_NCHW.is_contiguous()


def test_two_threads_cut_as_one_does():
    rng = np.random.default_rng(5)
    images = [Image.fromarray(rng.integers(0, 256, (30 + n, 47 + 3 * n, 3), dtype=np.uint8)) for n in range(40)]
    policy = SplitPolicy(tile=64)
    one_by_one = [split_image(image, policy).tiles_NCHW for image in images]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(lambda image: split_image(image, policy).tiles_NCHW, images))
    assert all((one == other).all() for one, other in zip(one_by_one, at_once, strict=True))


def test_tiles_beyond_the_picture_are_padding():
    policy = SplitPolicy(tile=16, mode=SplitMode.STATIC, overview=Overview.NONE, pad_color=(9, 8, 7))
    tiles = split_image(Image.new("RGB", (12, 96), "white"), policy).tiles_NCHW
    pad_C11 = torch.tensor(policy.pad_color)[:, None, None]
    assert len(tiles) == 4
    for left, right in (tiles[:2], tiles[2:]):
        assert (left[..., :4] == 255).all() and (left[..., 4:] == pad_C11).all() and (right == pad_C11).all()


def test_a_picture_that_is_not_rgb_is_refused():
    with pytest.raises(ValueError, match="RGB image, found mode L"):
        split_image(Image.new("L", (20, 10)), SplitPolicy(tile=16))
