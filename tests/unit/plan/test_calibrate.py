"""Speed from measured runs: what was put into a log is found again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mm15.plan.calibrate import GROUPS, Seen, calibration_of, line_of

RATES = {"vision": 40e9, "decoder": 20e9, "head": 10e9}
AT_LEAST = {"vision": 0.03, "decoder": 0.05, "head": 0.004}
PACKS, OPTIMIZER, REST = 2.0, 0.02, 0.006


def seen(steps: int = 41, stretch: float = 1.0, **changes: Any) -> Seen:
    """Steps of ``AT_LEAST`` seconds a pack and the rest at ``RATES``; the wall clock tells ``stretch`` times it."""
    spread = np.linspace(0.7, 1.3, steps)
    operations_XG = np.column_stack([4e9 * spread, 9e9 * spread[::-1], 1e9 * np.ones(steps)])
    few_G = np.array([1e8, 5e7, 1e6])
    parts, small = {"optimizer": np.full(steps, OPTIMIZER), "rest": np.full(steps, REST)}, {}
    for group, operations_X, few in zip(GROUPS, operations_XG.T, few_G, strict=True):
        taken_X = PACKS * AT_LEAST[group] + operations_X / RATES[group]
        parts |= {group: taken_X / 3, f"{group}_back": taken_X * 2 / 3}
        least = AT_LEAST[group] + few / RATES[group]
        small |= {group: least / 2, f"{group}_back": least / 2}
    seconds_X = stretch * np.sum(list(parts.values()), axis=0)
    return replace(Seen(operations_XG, seconds_X, PACKS, parts, small, few_G), **changes)


def test_rates_and_times_of_packs_are_found_again():
    found = calibration_of("run", seen())
    assert found.rates == pytest.approx(RATES)
    assert found.per_pack == pytest.approx(sum(AT_LEAST.values()) + REST / PACKS)
    assert found.per_step == pytest.approx(OPTIMIZER)
    other_XG = np.array([[1e9, 2e9, 3e8]])
    expected = other_XG[0] @ (1 / np.array([*RATES.values()])) + OPTIMIZER + 4 * found.per_pack
    assert found.seconds(other_XG, packs=4) == pytest.approx([expected])


def test_waits_stretch_everything():
    found = calibration_of("run", seen(stretch=1.5))
    assert found.rates == pytest.approx({group: rate / 1.5 for group, rate in RATES.items()})
    assert found.per_step == pytest.approx(1.5 * OPTIMIZER)


def test_some_slow_steps_change_nothing():
    usual = seen()
    slow_X = np.where(np.arange(41) % 4 == 0, 5.0, 1.0)
    parts = {part: seconds_X * slow_X for part, seconds_X in usual.parts.items()}
    found = calibration_of("run", replace(usual, parts=parts))
    assert found.rates == pytest.approx(RATES, rel=0.02)


def test_a_run_of_text_alone_knows_the_encoder_from_small_packs():
    usual = seen()
    operations_XG = usual.operations_XG * np.array([0, 1, 1])
    least = PACKS * AT_LEAST["vision"]
    parts = {**usual.parts, "vision": np.full(41, least / 3), "vision_back": np.full(41, least * 2 / 3)}
    seconds_X = np.sum(list(parts.values()), axis=0)
    found = calibration_of("run", replace(usual, operations_XG=operations_XG, parts=parts, seconds_X=seconds_X))
    assert found.rates == pytest.approx(RATES, rel=0.02)


@pytest.mark.parametrize("missing", ["parts", "small"])
def test_without_parts_it_is_a_line(missing: str):
    usual = seen()
    found = calibration_of("run", replace(usual, **{missing: {}}))
    rate, idle = line_of(usual.operations_XG.sum(1), usual.seconds_X)
    assert set(found.rates.values()) == {rate}
    assert (found.per_step, found.per_pack) == (idle, 0.0)


def test_a_line_is_found_again():
    operations = np.linspace(1e9, 2e9, 50)
    rate, idle = line_of(operations, 0.05 + operations / 40e9)
    assert (rate, idle) == pytest.approx((40e9, 0.05))
