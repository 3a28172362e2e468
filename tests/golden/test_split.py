"""Sizes → grids: worked examples of MM1.5's dynamic splitting at r = 672, checked by hand against the definition."""

import pytest

from mm15.images.split import Reading, SplitMode, SplitPolicy, candidate_grids, choose_grid, tile_layout

POLICY_4_9 = SplitPolicy()
POLICY_4_16 = SplitPolicy(n_max=16)
POLICY_1_9 = SplitPolicy(n_min=1)
POLICY_B = SplitPolicy(reading=Reading.B)

# (height, width), then for (4, 9): grid, "cov" or "dn", scale, resized (height, width), pad share;
# then the grids for (4, 16), (1, 9) and for reading B at (4, 9).
EXAMPLES = [
    ((300, 300), (2, 2), "cov", 4.48, (1344, 1344), 0.00, (2, 2), (1, 1), (2, 2)),
    ((400, 600), (2, 3), "cov", 3.36, (1344, 2016), 0.00, (2, 3), (2, 3), (2, 3)),
    ((427, 640), (2, 2), "cov", 2.10, (897, 1344), 0.33, (3, 4), (1, 1), (2, 3)),
    ((480, 640), (2, 2), "cov", 2.10, (1008, 1344), 0.25, (3, 4), (1, 1), (2, 3)),
    ((600, 850), (2, 2), "cov", 1.58, (949, 1344), 0.29, (3, 4), (2, 2), (2, 3)),
    ((720, 1280), (2, 3), "cov", 1.575, (1134, 2016), 0.16, (2, 3), (2, 3), (2, 4)),
    ((1080, 1920), (2, 3), "cov", 1.05, (1134, 2016), 0.16, (2, 3), (2, 3), (2, 4)),
    ((1000, 1000), (2, 2), "cov", 1.34, (1344, 1344), 0.00, (2, 2), (2, 2), (2, 2)),
    ((1100, 850), (2, 2), "cov", 1.22, (1344, 1039), 0.23, (2, 2), (2, 2), (3, 2)),
    ((2200, 1700), (3, 3), "dn", 0.916, (2016, 1558), 0.23, (4, 4), (3, 3), (3, 3)),
    ((3508, 2480), (3, 3), "dn", 0.575, (2016, 1425), 0.29, (4, 3), (3, 3), (3, 3)),
    ((2016, 2016), (3, 3), "cov", 1.00, (2016, 2016), 0.00, (3, 3), (3, 3), (3, 3)),
    ((2532, 1170), (4, 2), "cov", 1.06, (2688, 1242), 0.08, (4, 2), (4, 2), (4, 2)),
    ((1920, 1080), (3, 2), "cov", 1.05, (2016, 1134), 0.16, (3, 2), (3, 2), (4, 2)),
    ((3000, 1000), (4, 2), "dn", 0.896, (2688, 896), 0.33, (6, 2), (4, 2), (4, 2)),
    ((4000, 800), (5, 1), "dn", 0.84, (3360, 672), 0.00, (8, 2), (5, 1), (5, 1)),
    ((1600, 400), (4, 1), "cov", 1.68, (2688, 672), 0.00, (4, 1), (4, 1), (4, 1)),
    ((400, 3000), (1, 7), "cov", 1.57, (627, 4704), 0.07, (1, 7), (1, 7), (1, 7)),
    ((3000, 4000), (3, 3), "dn", 0.504, (1512, 2016), 0.25, (3, 4), (3, 3), (3, 3)),
    ((672, 6048), (1, 9), "cov", 1.00, (672, 6048), 0.00, (1, 9), (1, 9), (1, 9)),
    ((100, 2000), (1, 4), "cov", 1.34, (134, 2688), 0.80, (1, 4), (1, 3), (1, 4)),
]


def shape(grid):
    return grid.rows, grid.cols


@pytest.mark.parametrize("size, grid, case, scale, resized, pad, grid_16, grid_1, grid_b", EXAMPLES)
def test_worked_examples(size, grid, case, scale, resized, pad, grid_16, grid_1, grid_b):
    found = choose_grid(*size, POLICY_4_9)
    assert shape(found) == grid
    assert found.covers == (case == "cov")
    assert found.scale == pytest.approx(scale, abs=0.0051 if case == "cov" else 0.0006)
    assert (found.height, found.width) == resized
    share = 1 - found.height * found.width / (found.rows * found.cols * 672**2)
    assert share == pytest.approx(pad, abs=0.0051)
    assert shape(choose_grid(*size, POLICY_4_16)) == grid_16
    assert shape(choose_grid(*size, POLICY_1_9)) == grid_1
    assert shape(choose_grid(*size, POLICY_B)) == grid_b


@pytest.mark.parametrize(
    "size, policy, covers, scale, pad",
    [
        ((300, 300), POLICY_1_9, True, 2.24, 0.0),
        ((427, 640), POLICY_4_16, True, 4.20, 0.11),
        ((427, 640), POLICY_1_9, True, 1.05, 0.33),
        ((480, 640), POLICY_4_16, True, 4.20, 0.0),
        ((480, 640), POLICY_1_9, True, 1.05, 0.25),
        ((600, 850), POLICY_4_16, True, 3.16, 0.06),
        ((2200, 1700), POLICY_4_16, True, 1.22, 0.23),
        ((3508, 2480), POLICY_4_16, False, 0.766, 0.06),
        ((3000, 1000), POLICY_4_16, True, 1.344, 0.0),
        ((4000, 800), POLICY_4_16, True, 1.344, 0.20),
        ((3000, 4000), POLICY_4_16, False, 0.672, 0.0),
        ((100, 2000), POLICY_1_9, True, 1.008, 0.85),
    ],
)
def test_worked_examples_of_other_ranges(size, policy, covers, scale, pad):
    found = choose_grid(*size, policy)
    assert found.covers == covers
    assert found.scale == pytest.approx(scale, abs=0.0051)
    share = 1 - found.height * found.width / (found.rows * found.cols * 672**2)
    assert share == pytest.approx(pad, abs=0.0051)


def test_a_grid_of_one_tile_has_no_overview():
    assert tile_layout(480, 640, POLICY_1_9) == [(0, 0)]


def test_tolerance_of_one_pixel_moves_the_frequent_427x640_photo():
    grid = choose_grid(427, 640, POLICY_4_9.model_copy(update={"tolerance": 1}))
    assert (shape(grid), grid.height, grid.width) == ((2, 3), 1344, 2016)


def test_static_is_always_two_by_two():
    grid = choose_grid(480, 640, SplitPolicy(mode=SplitMode.STATIC))
    assert (shape(grid), grid.height, grid.width) == ((2, 2), 1008, 1344)
    grid = choose_grid(3000, 1000, SplitPolicy(mode=SplitMode.STATIC))
    assert (shape(grid), grid.height, grid.width) == ((2, 2), 1344, 448)


GRIDS_4_9 = (
    [(1, n) for n in range(4, 10)]
    + [(2, 2), (2, 3), (2, 4), (3, 2), (3, 3), (4, 1), (4, 2)]
    + [(n, 1) for n in range(5, 10)]
)
GRIDS_4_16 = (
    [(1, n) for n in range(4, 17)]
    + [(2, n) for n in range(2, 9)]
    + [(3, n) for n in range(2, 6)]
    + [(4, n) for n in range(1, 5)]
    + [(5, n) for n in range(1, 4)]
    + [(6, 1), (6, 2), (7, 1), (7, 2), (8, 1), (8, 2)]
    + [(n, 1) for n in range(9, 17)]
)


@pytest.mark.parametrize(
    "n_min, n_max, count, grids",
    [
        (4, 9, 18, GRIDS_4_9),
        (4, 16, 45, GRIDS_4_16),
        (1, 9, 23, sorted([*GRIDS_4_9, (1, 1), (1, 2), (1, 3), (2, 1), (3, 1)])),
        (4, 4, 3, [(1, 4), (2, 2), (4, 1)]),
    ],
)
def test_candidate_grids(n_min, n_max, count, grids):
    assert candidate_grids(n_min, n_max) == grids
    assert len(grids) == count
