"""Workers that hang and long runs of the loader."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from data_fixture import small_processor, write_texts
from faults_fixture import StuckProcessor
from mm15.base.errors import MM15Error
from mm15.data.loader import Loader
from mm15.data.mixture import MixtureConfig
from mm15.data.planner import PackBudget, Planner, build_planner
from mm15.data.source import Source, open_sources
from mm15.train.machine import memory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def plan(folder: Path, rows: int) -> tuple[Planner, list[Source]]:
    sources = open_sources([write_texts(folder, "words", rows)], folder)
    mixture, budget = MixtureConfig(shares={"text_only": 1}), PackBudget(max_tokens=200, max_tiles=4)
    return build_planner(sources, small_processor(), mixture, budget, 0, window=512), sources


def test_a_hanging_worker_is_named_with_its_stack(tmp_path: Path, figure):
    planner, sources = plan(tmp_path, 30)
    plain = small_processor()
    stuck = StuckProcessor(plain.config, plain.tokenizer)
    with Loader(planner, sources, stuck, workers=1) as loader:
        next(loader)
        began = time.monotonic()
        with pytest.raises(MM15Error, match=r"loader worker 0 \(pid \d+\).* no answer for 60 s") as caught:
            for _ in range(20):
                next(loader)
        waited = time.monotonic() - began
    assert "fall_asleep" in str(caught.value) and "in encode" in str(caught.value)
    figure("a worker hangs", "1", f"named with its stack after {waited:.0f} s")


def test_memory_and_files_stay_the_same_over_fifty_thousand_steps(tmp_path: Path, figure):
    planner, sources = plan(tmp_path, 200)
    loader = Loader(planner, sources, small_processor())
    for _ in range(5_000):
        next(loader)
    before, files = memory()["rss"], len(os.listdir("/proc/self/fd"))
    for _ in range(45_000):
        number, batch = next(loader)
    assert number == 49_999 and batch.num_samples
    growth = memory()["rss"] / before - 1
    assert growth < 0.02
    assert len(os.listdir("/proc/self/fd")) == files
    figure("50,000 loader steps", "1", f"resident memory {growth:+.2%} after the first 5,000; open files the same")
