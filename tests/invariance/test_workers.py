"""The stream of batches is the same for any number of workers, and workers leave nothing behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mm15
from data_fixture import small_processor, write_pictures, write_texts
from mm15.base.batch import PackedBatch
from mm15.data.loader import Loader
from mm15.data.mixture import MixtureConfig
from mm15.data.planner import PackBudget, Planner, build_planner
from mm15.data.source import Source, open_sources

TENSORS = ("tokens_T", "labels_T", "positions_T", "tiles_NCHW")
OTHERS = ("borders", "tile_counts", "keys", "sources", "categories", "image_token", "tokens_per_tile")


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> tuple[Planner, list[Source]]:
    folder = tmp_path_factory.mktemp("data")
    sources = open_sources([write_pictures(folder, "seen", 30), write_texts(folder, "words", 30)], folder)
    (folder / "images" / "seen3.png").unlink()
    mixture, budget = MixtureConfig(shares={"general": 3, "text_only": 1}), PackBudget(max_tokens=400, max_tiles=40)
    return build_planner(sources, small_processor(), mixture, budget, 0, window=64), sources


@pytest.fixture(scope="module")
def straight(planned) -> list[tuple[int, PackedBatch]]:
    planner, sources = planned
    loader = Loader(planner, sources, small_processor())
    batches = list(itertools.islice(loader, 20))
    assert len(loader.skips["seen"]) > 0
    return batches


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (3, 2)])
def test_any_number_of_workers_gives_the_same_batches(planned, straight, workers: int, prefetch: int):
    planner, sources = planned
    with Loader(planner, sources, small_processor(), workers=workers, prefetch=prefetch) as loader:
        for (number, batch), (wanted_number, wanted) in zip(itertools.islice(loader, 20), straight, strict=True):
            assert number == wanted_number
            assert all(torch.equal(getattr(batch, name), getattr(wanted, name)) for name in TENSORS)
            assert all(getattr(batch, name) == getattr(wanted, name) for name in OTHERS)
        reference = Loader(planner, sources, small_processor())
        list(itertools.islice(reference, 20))
        assert loader.skips == reference.skips and loader.drawn == reference.drawn


def test_going_on_with_other_workers_and_ranks_gives_the_same_tail(planned, straight):
    planner, sources = planned
    with Loader(planner, sources, small_processor(), workers=2) as loader:
        list(itertools.islice(loader, 8))
        state = loader.state()
    for workers, world in ((0, 1), (1, 2)):
        for rank in range(world):
            with Loader(planner, sources, small_processor(), rank, world, workers) as loader:
                loader.restore(state)
                for number, batch in itertools.islice(loader, 12 // world):
                    assert batch.keys == straight[number][1].keys
                    assert torch.equal(batch.tokens_T, straight[number][1].tokens_T)


SCRIPT = """
import sys
from pathlib import Path
from data_fixture import small_processor, write_pictures
from mm15.data.loader import Loader
from mm15.data.mixture import MixtureConfig
from mm15.data.planner import PackBudget, build_planner
from mm15.data.source import open_sources

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sources = open_sources([write_pictures(folder, "seen", 20)], folder)
    budget = PackBudget(max_tokens=400, max_tiles=40)
    planner = build_planner(sources, small_processor(), MixtureConfig(shares="equal"), budget, 0, 64)
    loader = Loader(planner, sources, small_processor(), workers=2)
    next(loader)
    print(*[process.pid for process in loader._workers._processes], flush=True)
    for _ in loader:
        pass
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_trainer_however_it_ends(tmp_path: Path, ending: signal.Signals):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = [str(Path(mm15.__file__).parents[1]), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as trainer:
        assert trainer.stdout is not None and trainer.stderr is not None
        pids = [int(pid) for pid in trainer.stdout.readline().split()]
        assert len(pids) == 2
        if ending is signal.SIGINT:
            os.killpg(trainer.pid, ending)  # As a terminal does: everyone in the group is told.
        else:
            trainer.send_signal(ending)
        errors = trainer.stderr.read()
        trainer.wait(timeout=60)
    assert errors.count("Traceback") == (1 if ending is signal.SIGINT else 0), errors
    deadline = time.monotonic() + 30
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(running(pid) for pid in pids)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that ended but was not yet collected is not running.
    return not Path(f"/proc/{pid}/stat").exists() or " Z " not in Path(f"/proc/{pid}/stat").read_text()
