"""One map over chunks of work, in order, on all cores of this machine or on a Ray cluster; the same results either way.

``pool`` (default) works in processes of this machine, ``ray`` in tasks of a Ray cluster (optional extra ``ray``). Work
and chunks travel pickled: a function of a module, or a ``functools.partial`` of one. On a cluster every node needs this
version of mm15 and the data under the same paths. What a chunk gives must not depend on who works on it, or when.

Few chunks are on their way at a time, so that neither a long list of chunks nor slow reading of the results fills the
memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

from mm15.base.errors import ConfigError, MissingExtra, MM15Error

ChunkT = TypeVar("ChunkT")
ResultT = TypeVar("ResultT")
Kind = Literal["pool", "ray"]

PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
"""How this package starts processes: never by forking one that already runs threads or holds a GPU."""
AHEAD = 4
"""Chunks for each worker that are on their way or waiting for their turn."""
CONNECT_SECONDS = 10.0
STORE_BYTES = 256 << 20
"""Shared memory of a Ray that is started for one map; what travels is small."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Who works.

    Args:
        kind: ``pool`` or ``ray``.
        address: of the Ray cluster (``host:6379``, ``auto``); empty: ``RAY_ADDRESS``, else a Ray on this machine that
            ends with the map.
        workers: 0: one for each core; 1 with ``pool``: this process works itself.

    Raises:
        ConfigError: no such kind, or an address for the pool.
    """

    kind: Kind = "pool"
    address: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in get_args(Kind):
            problems.append(f"unknown engine '{self.kind}'; known: {', '.join(get_args(Kind))}")
        elif self.kind == "pool" and self.address:
            problems.append(f"an address ({self.address}) is for engine 'ray'; give --engine ray or leave it out")
        if self.workers < 0:
            problems.append(f"workers must be 0 (one for each core) or more, found {self.workers}")
        if problems:
            raise ConfigError(problems, "engine")


class ChunkError(MM15Error):
    """A chunk could not be worked on; says which and why."""


def map_ordered(
    work: Callable[[ChunkT], ResultT],
    chunks: Iterable[ChunkT],
    engine: Engine = Engine(),  # noqa: B008 (frozen)
    name: Callable[[ChunkT], str] = str,
    progress: Callable[[int], None] | None = None,
) -> Iterator[ResultT]:
    """``work(chunk)`` for every chunk, in the order of the chunks.

    Chunks are taken from the iterable as they are needed. When the caller stops reading, or on Ctrl-C, what is on its
    way is abandoned and the workers end.

    Args:
        work: can be pickled.
        name: what errors call a chunk.
        progress: told the number of chunks that are done, whenever it grows.

    Raises:
        ChunkError: ``work`` raised, or its process died; names the chunk.
        MissingExtra: engine ``ray`` without the package.
        ConfigError: no Ray cluster at the address.
    """
    crew = _crew(work, engine)
    finished = False
    try:
        yield from _in_order(crew, iter(chunks), name, progress)
        finished = True
    finally:
        crew.close(finished)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a worker raised, as text: exceptions do not all survive pickling."""

    reason: str
    trace: str


class _Crew(Protocol):
    workers: int

    def submit(self, number: int, chunk: Any) -> None: ...

    def next(self) -> tuple[int, Any]:
        """A finished chunk and its result or failure; waits for one."""
        ...

    def close(self, finished: bool) -> None: ...


def _crew(work: Callable[[Any], Any], engine: Engine) -> _Crew:
    if engine.kind == "ray":
        return _RayTasks(pickle.dumps(work), engine)
    workers = engine.workers or os.cpu_count() or 1
    return _Here(work) if workers == 1 else _Pool(pickle.dumps(work), workers)


def _in_order(
    crew: _Crew, chunks: Iterator[ChunkT], name: Callable[[ChunkT], str], progress: Callable[[int], None] | None
) -> Iterator[Any]:
    on_way: dict[int, ChunkT] = {}
    waiting: dict[int, Any] = {}
    started = given = done = 0
    exhausted = False
    while True:
        while not exhausted and started < given + AHEAD * crew.workers:
            try:
                chunk = next(chunks)
            except StopIteration:
                exhausted = True
                break
            on_way[started] = chunk
            crew.submit(started, chunk)
            started += 1
        if not on_way:
            return
        try:
            number, result = crew.next()
        except _Died as died:
            # Chunks are worked on in the order they were given.
            suspects = [name(chunk) for _, chunk in sorted(on_way.items())[: crew.workers]]
            told = f"a worker process died ({died}); it worked on one of: {'; '.join(suspects)}"
            raise ChunkError(f"{told}. Was it killed, or is the memory too small for so many workers?") from died
        chunk = on_way.pop(number)
        if isinstance(result, _Failure):
            trace = f"\n{result.trace}" if result.trace else ""
            raise ChunkError(f"{name(chunk)}: {result.reason}{trace}")
        waiting[number] = result
        done += 1
        if progress:
            progress(done)
        while given in waiting:
            yield waiting.pop(given)
            given += 1


class _Died(Exception):
    """A worker process is gone without a word."""


class _Here:
    """This process."""

    workers = 1

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._given: list[tuple[int, Any]] = []

    def submit(self, number: int, chunk: Any) -> None:
        self._given.append((number, chunk))

    def next(self) -> tuple[int, Any]:
        number, chunk = self._given.pop(0)
        return number, _attempt(self._work, chunk)

    def close(self, finished: bool) -> None:
        self._given.clear()


class _Pool:
    """Processes of this machine."""

    def __init__(self, work: bytes, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, PROCESSES, _start_worker, (work,))
        self._number_of: dict[Future[Any], int] = {}
        self._finished: list[Future[Any]] = []

    def submit(self, number: int, chunk: Any) -> None:
        try:
            self._number_of[self._pool.submit(_work_here, chunk)] = number
        except BrokenProcessPool as error:
            raise _Died(str(error)) from error

    def next(self) -> tuple[int, Any]:
        if not self._finished:
            self._finished = list(wait(self._number_of, return_when=FIRST_COMPLETED).done)
        future = self._finished.pop()
        number = self._number_of.pop(future)
        try:
            return number, future.result()
        except BrokenProcessPool as error:
            raise _Died(str(error)) from error
        except Exception as error:  # The result could not be pickled.
            return number, _failure(error)

    def close(self, finished: bool) -> None:
        # Public as terminate_workers() from Python 3.14; a chunk that nobody waits for may still take minutes.
        processes = [] if finished else list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=finished, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


class _RayTasks:
    """Tasks of a Ray cluster. A task whose node is lost is tried again elsewhere by Ray."""

    def __init__(self, work: bytes, engine: Engine) -> None:
        self._ray = _import_ray()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            self._start(engine)
        self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._work = self._ray.put(work)
        self._task = self._ray.remote(max_retries=3)(_work_anywhere)
        self._number_of: dict[Any, int] = {}

    def _start(self, engine: Engine) -> None:
        address = engine.address or os.environ.get("RAY_ADDRESS") or "local"
        told: dict[str, Any] = {}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing here speaks to the network unasked.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if address == "local":
            # As multiprocessing does: workers find the modules that this process finds.
            paths = os.pathsep.join(path for path in sys.path if path)
            told = {
                "num_cpus": engine.workers or os.cpu_count(),
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
                "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
            }
        try:
            _check_answer(address)
            self._ray.init(address, log_to_driver=False, logging_level="ERROR", **told)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError([f"no Ray cluster answers at '{address}': {error}"], "engine") from error

    def submit(self, number: int, chunk: Any) -> None:
        self._number_of[self._task.remote(self._work, pickle.dumps(chunk))] = number

    def next(self) -> tuple[int, Any]:
        (task,), _ = self._ray.wait(list(self._number_of), num_returns=1)
        number = self._number_of.pop(task)
        try:
            return number, self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return number, _Failure(f"Ray lost it: {error}", "")

    def close(self, finished: bool) -> None:
        for task in self._number_of:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        if self._ours:
            self._ray.shutdown()


def _check_answer(address: str) -> None:
    """Raises ``OSError`` where nobody listens at ``host:port``; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "engine 'ray'") from None
    return ray


_kept: list[Any] = [b"", None]
"""In a worker: the work, pickled and ready. Opened files stay open from one chunk to the next."""


def _start_worker(work: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one decides.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _kept[:] = [work, None]


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for its next chunk for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_here(chunk: Any) -> Any:
    try:
        if _kept[1] is None:
            _kept[1] = pickle.loads(_kept[0])
    except Exception as error:
        return _failure(error)
    return _attempt(_kept[1], chunk)


def _work_anywhere(work: bytes, chunk: bytes) -> Any:
    if _kept[0] != work:
        _kept[:] = [work, None]
    return _work_here(pickle.loads(chunk))


def _attempt(work: Callable[[Any], Any], chunk: Any) -> Any:
    try:
        return work(chunk)
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> _Failure:
    if isinstance(error, MM15Error):
        return _Failure(str(error), "")
    return _Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
