"""Permutations that are never made: bijective at every size, even, different for every key, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from mm15.base.rng import permuted


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 100, 1023, 1024, 1025, 70_000])
def test_every_place_gets_its_own_number(count: int):
    assert np.array_equal(np.sort(permuted(np.arange(count), count, 3, "rows")), np.arange(count))


def test_a_part_of_the_places_is_a_part_of_the_permutation():
    whole = permuted(np.arange(3000), 3000, 0, "a", 1)
    some = np.array([7, 2999, 7, 0, 1500])
    assert np.array_equal(permuted(some, 3000, 0, "a", 1), whole[some])
    assert not np.array_equal(permuted(np.arange(3000), 3000, 0, "a", 2), whole)
    assert not np.array_equal(permuted(np.arange(3000), 3000, 1, "a", 1), whole)
    assert permuted(np.arange(4), 2_000_000_000, 0, "pairs").tolist() == PAIRS


PAIRS = [80096010, 1865025401, 391809308, 1269472613]


@pytest.mark.parametrize("count", [6, 10, 100])
def test_over_many_seeds_a_place_gets_every_number_equally_often(count: int):
    places, seeds = np.arange(count), 2000
    found = np.stack([permuted(places, count, seed, "even") for seed in range(seeds)])
    for place in (0, 1, count - 1):
        hits = np.bincount(found[:, place], minlength=count)
        chi = ((hits - seeds / count) ** 2 / (seeds / count)).sum()
        assert abs(chi - (count - 1)) < 5 * (2 * (count - 1)) ** 0.5
    # Neighbours do not stay neighbours.
    together = (np.abs(np.diff(found, axis=1)) == 1).mean()
    assert together == pytest.approx(2 / count, rel=0.1)


def test_long_runs_are_shuffled_through_and_through():
    found = permuted(np.arange(50_000), 50_000, 0, "long")
    assert abs(np.corrcoef(np.arange(50_000), found)[0, 1]) < 0.02
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    assert found[:5000].mean() == pytest.approx(25_000, rel=0.03)
