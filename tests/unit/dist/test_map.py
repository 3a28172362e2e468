"""The ordered map: order, progress, what errors name, and that nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import map_fixture as work
import mm15
from mm15.base.errors import ConfigError, MissingExtra
from mm15.dist._cluster import share
from mm15.dist.map import AHEAD, ChunkError, Engine, WorkError, map_ordered

HERE, TWO = Engine(workers=1), Engine(workers=2)
ENGINES = [HERE, TWO]


@pytest.mark.parametrize("engine", ENGINES)
def test_results_come_in_the_order_of_the_chunks(engine: Engine):
    told: list[int] = []
    found = list(map_ordered(work.double, range(30), engine, progress=told.append))
    assert found == [2 * number for number in range(30)] and told == list(range(1, 31))
    assert list(map_ordered(work.double, [], engine)) == []


def test_several_processes_work_and_none_is_this_one():
    found = set(map_ordered(work.process, range(20), TWO))
    assert len(found) == 2 and os.getpid() not in found
    assert set(map_ordered(work.process, range(3), HERE)) == {os.getpid()}


@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_are_taken_as_they_are_needed(engine: Engine):
    taken = []

    def chunks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_ordered(work.double, chunks(), engine)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(taken) <= 3 + AHEAD * engine.workers
    results.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_names_its_chunk(engine: Engine):
    with pytest.raises(WorkError, match=r"(?s)^rows of 3: ValueError: no three today\n.*in fail"):
        list(map_ordered(work.fail, range(6), engine, name=lambda chunk: f"rows of {chunk}"))
    with pytest.raises(ChunkError, match=r"^3: row 3 of this file is not a row$"):
        list(map_ordered(work.refuse, range(6), engine))
    with pytest.raises(ChunkError, match=r"(?s)^0: OSError: .*No space left on device\n.*in full_disk"):
        list(map_ordered(work.full_disk, range(6), engine))


def test_a_result_that_cannot_travel_names_its_chunk():
    with pytest.raises(WorkError, match=r"(?s)^3: .*pickle"):
        list(map_ordered(work.unsendable, range(6), TWO))


def test_a_dead_worker_names_what_it_may_have_worked_on():
    with pytest.raises(ChunkError, match=r"a worker process died .* it worked on one of: .*chunk 3.*memory"):
        list(map_ordered(work.die, range(6), TWO, name=lambda chunk: f"chunk {chunk}"))


def test_work_that_cannot_travel_is_refused_before_anything_starts():
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(map_ordered(lambda number: number, range(2), TWO))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_forked_workers_need_no_pickle_of_the_work():
    assert list(map_ordered(lambda number: 3 * number, range(9), TWO, fork=True)) == [3 * number for number in range(9)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_map_leaves_no_process(tmp_path: Path, number: int):
    code = (
        "import functools, sys; from mm15.dist.map import *; import map_fixture as work\n"
        "if __name__ == '__main__':\n"
        f"    list(map_ordered(functools.partial(work.sleep, {str(tmp_path)!r}), range(9), Engine(workers=2)))\n"
    )
    script = tmp_path.with_suffix(".py")
    script.write_text(code)
    paths = os.pathsep.join([str(Path(mm15.__file__).parents[1]), str(Path(work.__file__).parent)])
    told = {**os.environ, "PYTHONPATH": paths}
    started = subprocess.Popen([sys.executable, script], env=told, stderr=subprocess.PIPE, text=True)
    _wait(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    started.send_signal(number)
    _, errors = started.communicate(timeout=60)
    assert started.returncode != 0
    _wait(lambda: not any(_alive(worker) for worker in workers))
    if number == signal.SIGINT:
        assert errors.strip().endswith("KeyboardInterrupt") and errors.count("Traceback") == 1


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait(for_: object) -> None:
    end = time.monotonic() + 60
    while not for_():  # type: ignore[operator]
        assert time.monotonic() < end, "waited a minute"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"kind": "rays"}, "unknown engine 'rays'; known: pool, ray"),
        ({"address": "head:6379"}, r"an address \(head:6379\) is for engine 'ray'"),
        ({"workers": -1}, "workers must be 0"),
    ],
)
def test_engines_that_are_none_are_refused(told: dict[str, object], problem: str):
    with pytest.raises(ConfigError, match=problem):
        Engine(**told)  # type: ignore[arg-type]


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mm15\[ray\]'"):
        list(map_ordered(work.double, range(2), Engine("ray")))


def test_ray_gives_the_same_results_and_names_chunks(ray: Engine):
    told: list[int] = []
    assert list(map_ordered(work.double, range(12), ray, progress=told.append)) == [2 * number for number in range(12)]
    assert told == list(range(1, 13))
    with pytest.raises(WorkError, match=r"(?s)^rows of 3: ValueError: no three today\n.*in fail"):
        list(map_ordered(work.fail, range(6), ray, name=lambda chunk: f"rows of {chunk}"))
    with pytest.raises(ChunkError, match=r"^3: row 3 of this file is not a row$"):
        list(map_ordered(work.refuse, range(6), ray))
    with pytest.raises(WorkError, match=r"(?s)^3: .*pickle"):
        list(map_ordered(work.unsendable, range(6), ray))


def test_ray_works_where_this_process_is(ray: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert set(map_ordered(work.folder, range(4), ray)) == {str(tmp_path)}


def test_no_more_tasks_than_workers_run_at_a_time(ray: Engine, tmp_path: Path):
    one = Engine("ray", workers=1)
    assert list(map_ordered(partial(work.alone, str(tmp_path)), range(8), one)) == list(range(8))


def check_set_up(engine: Engine, most: int) -> None:
    found = list(map_ordered(work.append, range(12), engine, set_up=work.ready))
    last: dict[int, list[int]] = {}
    for number, (process, numbers) in enumerate(found):
        assert numbers == [*last.get(process, []), number], "made anew, or given to two processes"
        last[process] = numbers
    assert 1 <= len(last) <= most and sorted(sum(last.values(), [])) == list(range(12))
    with pytest.raises(ChunkError, match=r"^a worker cannot start: no such model$"):
        list(map_ordered(work.append, range(3), engine, set_up=work.no_model))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_worker_makes_ready_once(engine: Engine):
    check_set_up(engine, engine.workers)
    with pytest.raises(WorkError, match=r"(?s)^a worker cannot start: IndexError.*in broken"):
        list(map_ordered(work.append, range(3), engine, set_up=work.broken))


def test_every_actor_makes_ready_once(ray: Engine):
    check_set_up(ray, 2)


def test_actors_beyond_what_fits_the_cluster_are_not_waited_for(ray: Engine):
    three = Engine("ray", workers=3)
    assert [numbers[-1] for _, numbers in map_ordered(work.append, range(12), three, set_up=work.ready)] == [*range(12)]


@pytest.mark.parametrize(
    ("nodes", "workers", "each"),
    [([16, 16], 2, 16), ([16, 16], 3, 8), ([16, 16], 4, 8), ([16, 4], 5, 4), ([16], 5, 3), ([2], 3, 1), ([], 1, 1)],
)
def test_actors_share_the_cpus_of_nodes(nodes: list[int], workers: int, each: int):
    assert share(nodes, workers) == each


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_without_a_cluster_is_refused_at_once(address: str, monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=f"no Ray cluster answers at '{address}': .*refused"):
        list(map_ordered(work.double, range(2), Engine("ray", address)))


def test_no_cluster_to_be_found_is_refused(monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")

    def init(address: str, **_: object) -> None:
        raise ConnectionError(f"Could not find any running Ray instance ({address})")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConfigError, match="no Ray cluster answers at 'auto': Could not find any"):
        list(map_ordered(work.double, range(2), Engine("ray", "auto")))
