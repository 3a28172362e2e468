"""The loader: the planned packs in order, unreadable rows left out and counted, and no silent waiting for a worker."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from data_fixture import small_processor, write_pictures, write_texts
from faults_fixture import StuckProcessor
from mm15.base.batch import PackedBatch
from mm15.base.errors import MM15Error, PlanMismatch, SkipBudgetExceeded
from mm15.data.loader import Loader, SampleCache
from mm15.data.mixture import MixtureConfig
from mm15.data.planner import PackBudget, Planner, build_planner
from mm15.data.source import Source, open_sources


def plan(folder: Path, pictures: int = 20, texts: int = 30, seed: int = 0) -> tuple[Planner, list[Source]]:
    configs = [write_pictures(folder, "seen", pictures), write_texts(folder, "words", texts)]
    sources = open_sources(configs, folder)
    mixture, budget = MixtureConfig(shares={"general": 3, "text_only": 1}), PackBudget(max_tokens=400, max_tiles=40)
    return build_planner(sources, small_processor(), mixture, budget, seed, window=64), sources


def take(loader: Any, count: int) -> list[tuple[int, PackedBatch]]:
    return list(itertools.islice(loader, count))


def test_batches_hold_the_planned_samples_within_the_budget(tmp_path: Path):
    planner, sources = plan(tmp_path)
    loader = Loader(planner, sources, small_processor())
    for wanted, (number, batch) in enumerate(take(loader, 20)):
        batch.check()
        assert number == wanted
        assert list(batch.keys) == [f"{sources[s].name}/{row}" for s, row in planner.pack(number)]
        assert batch.tokens_T.numel() <= 400 and batch.tiles_NCHW.shape[0] <= 40
        assert loader.data_wait > 0
    assert loader.drawn.total() == sum(len(planner.pack(k)) for k in range(20)) and not loader.skips


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_changes_no_batch_and_reads_no_row_twice(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch):
    planner, sources = plan(tmp_path)
    plain = take(Loader(planner, sources, small_processor()), 25)
    read: list[tuple[str, int]] = []
    original = Source.sample

    def sample(self: Source, row: int) -> Any:
        read.append((self.name, row))
        return original(self, row)

    monkeypatch.setattr(Source, "sample", sample)
    with Loader(planner, sources, small_processor(), workers=workers, cache_mb=64) as loader:
        for (number, batch), (again, kept) in zip(plain, take(loader, 25), strict=True):
            assert number == again and batch.keys == kept.keys
            assert torch.equal(batch.tokens_T, kept.tokens_T) and torch.equal(batch.tiles_NCHW, kept.tiles_NCHW)
    drawn = [key for _, batch in plain for key in batch.keys]
    assert len(drawn) > len(set(drawn)), "the test needs rows that are drawn again"
    if not workers:
        assert len(read) == len(set(read)) == len(set(drawn))


def test_a_full_cache_keeps_what_it_has(tmp_path: Path):
    _, sources = plan(tmp_path)
    processor, source = small_processor(), sources[0]
    first = processor.encode(source.sample(0))
    size = sum(tensor.nbytes for tensor in (first.tokens_T, first.labels_T, first.tiles_NCHW))
    cache = SampleCache(1)
    room = (1 << 20) // size
    assert room >= 1
    kept = [cache.encode((0, row), source, processor) for row in range(20)]
    assert all(cache.encode((0, row), source, processor) is kept[row] for row in range(min(room, 10)))
    nothing = SampleCache(0)
    assert nothing.encode((0, 0), source, processor) is not nothing.encode((0, 0), source, processor)


def test_restart_from_a_state_gives_the_same_tail_for_any_number_of_ranks(tmp_path: Path):
    planner, sources = plan(tmp_path)
    loader = Loader(planner, sources, small_processor())
    whole = [batch.keys for _, batch in take(loader, 30)]
    first = Loader(planner, sources, small_processor())
    take(first, 12)
    state = first.state()
    assert state["pack"] == 12 and state["plan_hash"] == planner.plan_hash
    for world in (1, 2, 3):
        ranks = []
        for rank in range(world):
            fresh, opened = plan(tmp_path)
            ranks.append(Loader(fresh, opened, small_processor(), rank=rank, world=world))
            ranks[-1].restore(state)
        dealt = [
            batch.keys
            for step in zip(*(take(loader, 18 // world) for loader in ranks), strict=True)
            for _, batch in step
        ]
        assert dealt == whole[12:]
        assert [loader.state()["pack"] for loader in ranks] == [30] * world


def test_another_plan_is_refused_unless_accepted(tmp_path: Path):
    planner, sources = plan(tmp_path)
    state = Loader(planner, sources, small_processor()).state()
    other, opened = plan(tmp_path, seed=1)
    loader = Loader(other, opened, small_processor())
    with pytest.raises(PlanMismatch, match="seed: was 0, is 1"):
        loader.restore(state)
    loader.restore(state, accept_plan=True)
    assert take(loader, 1)[0][0] == 0
    with pytest.raises(ValueError, match="before the first batch"):
        loader.restore(state, accept_plan=True)


def test_an_unreadable_picture_is_left_out_and_named(tmp_path: Path):
    planner, sources = plan(tmp_path, pictures=40)
    (tmp_path / "images" / "seen7.png").write_bytes(b"not a picture")
    loader = Loader(planner, sources, small_processor())
    for number, batch in take(loader, 40):
        wanted = [f"{sources[s].name}/{row}" for s, row in planner.pack(number)]
        assert list(batch.keys) == [key for key in wanted if key != "seen/7"]
    assert {skip.row for skip in loader.skips["seen"]} == {7}
    skip = loader.skips["seen"][0]
    assert skip.address == f"{tmp_path}/seen.jsonl:8" and "images/seen7.png" in skip.reason


def test_a_pack_with_nothing_left_is_one_untrained_token(tmp_path: Path):
    config = write_pictures(tmp_path, "seen", 8).model_copy(update={"max_skip_rate": 1.0})
    sources = open_sources([config], tmp_path)
    budget = PackBudget(max_tokens=400, max_tiles=40)
    planner = build_planner(sources, small_processor(), MixtureConfig(shares="equal"), budget, seed=0, window=64)
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    loader = Loader(planner, sources, small_processor())
    for _, batch in take(loader, 3):
        batch.check()
        assert batch.tokens_T.numel() == 1 and batch.num_targets == 0 and batch.tiles_NCHW.shape == (0, 3, 16, 16)
    assert len(loader.skips["seen"]) == loader.drawn["seen"] == sum(len(planner.pack(k)) for k in range(3))


def test_too_many_unreadable_pictures_stop_the_run(tmp_path: Path):
    planner, sources = plan(tmp_path)
    for index in range(15):
        (tmp_path / "images" / f"seen{index}.png").unlink()
    loader = Loader(planner, sources, small_processor())
    with pytest.raises(SkipBudgetExceeded, match=r"source 'seen': 11 of \d+ rows cannot be used") as error:
        take(loader, 50)
    assert "seen.jsonl:" in str(error.value) and "max_skip_rate" in str(error.value)


def test_a_programming_error_is_not_a_bad_row(tmp_path: Path, monkeypatch):
    planner, sources = plan(tmp_path)
    processor = small_processor()
    monkeypatch.setattr(processor, "encode", lambda sample: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        next(Loader(planner, sources, processor))


def test_a_dead_worker_is_named(tmp_path: Path):
    planner, sources = plan(tmp_path)
    with Loader(planner, sources, small_processor(), workers=2, prefetch=1) as loader:
        take(loader, 2)
        victim = loader._workers._processes[1]
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(MM15Error, match=rf"loader worker 1 \(pid {victim.pid}\) of 2, .*exit code -9.*rows: "):
            take(loader, 6)
    assert not any(process.is_alive() for process in loader._workers._processes)


def test_a_stuck_worker_is_named_and_ended(tmp_path: Path):
    planner, sources = plan(tmp_path)
    with Loader(planner, sources, small_processor(), workers=1, prefetch=1, timeout_s=30) as loader:
        take(loader, 1)
        loader._workers._timeout_s = 0.3
        os.kill(loader._workers._processes[0].pid, signal.SIGSTOP)
        with pytest.raises(MM15Error, match=r"(?s)reading pack \d+: no answer for 0.3 s.*does not even say"):
            take(loader, 3)
    assert not loader._workers._processes[0].is_alive()


def test_a_worker_that_hangs_tells_its_stack(tmp_path: Path):
    planner, sources = plan(tmp_path)
    plain = small_processor()
    with Loader(planner, sources, StuckProcessor(plain.config, plain.tokenizer), workers=1) as loader:
        next(loader)
        loader._workers._timeout_s = 0.3
        with pytest.raises(MM15Error, match=r"(?s)no answer for 0.3 s.*What it is doing:.*in fall_asleep.*in encode"):
            take(loader, 20)


def test_batches_from_workers_can_be_written_to(tmp_path: Path):
    planner, sources = plan(tmp_path)
    with Loader(planner, sources, small_processor(), workers=1) as loader:
        _, batch = next(loader)
        batch.tokens_T.add_(1)
        assert batch.tiles_NCHW.dtype == torch.uint8 and batch.num_samples == len(planner.pack(0))
