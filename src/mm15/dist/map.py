"""One map over chunks of work, in order, on all cores of this machine or on a Ray cluster; the same results either way.

``pool`` (default) works in processes of this machine, ``ray`` in processes of a Ray cluster (optional extra ``ray``).
Work and chunks travel pickled: a function of a module, or a ``functools.partial`` of one. On a cluster every node needs
this version of mm15 and the data under the same paths. What a chunk gives must not depend on who works on it, or when.

Few chunks are on their way at a time, so that neither a long list of chunks nor slow reading of the results fills the
memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Protocol, TypeVar, overload

from mm15.base.errors import ConfigError, MM15Error
from mm15.dist import _cluster
from mm15.dist._worker import Died, Failure, Job, start_process, work_here

ChunkT = TypeVar("ChunkT")
ResultT = TypeVar("ResultT")
StateT = TypeVar("StateT")

KINDS = ("pool", "ray")
PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
"""How this package starts processes: never by forking one that already runs threads or holds a GPU."""
FORKS = multiprocessing.get_context("fork") if sys.platform == "linux" else PROCESSES
"""For work that shares much that was read before, where no threads run. macOS and Windows cannot fork safely."""
AHEAD = 4
"""Chunks for each worker that are on their way or waiting for their turn."""


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

    kind: str = "pool"
    address: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in KINDS:
            problems.append(f"unknown engine '{self.kind}'; known: {', '.join(KINDS)}")
        elif self.kind == "pool" and self.address:
            problems.append(f"an address ({self.address}) is for engine 'ray'; give --engine ray or leave it out")
        if self.workers < 0:
            problems.append(f"workers must be 0 (one for each core) or more, found {self.workers}")
        if problems:
            raise ConfigError(problems, "engine")

    @property
    def processes(self) -> int:
        """Workers, where 0 is one for each core of this machine."""
        return self.workers or os.cpu_count() or 1

    @property
    def here(self) -> bool:
        """Whether this process works itself."""
        return self.kind == "pool" and self.processes == 1

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Several maps over one connection: a Ray of this machine starts once, not with every map.

        Raises:
            MissingExtra: engine ``ray`` without the package.
            ConfigError: no Ray cluster at the address.
        """
        with _cluster.connected(self.address, self.workers) if self.kind == "ray" else contextlib.nullcontext():
            yield


ALL_CORES = Engine()
"""A process for each core of this machine."""


class ChunkError(MM15Error):
    """A chunk could not be worked on; says which and why."""


class WorkError(RuntimeError):
    """The work itself is at fault, not its data: names the chunk and shows the worker's traceback."""


@overload
def map_ordered(
    work: Callable[[ChunkT], ResultT],
    chunks: Iterable[ChunkT],
    engine: Engine = ...,
    name: Callable[[ChunkT], str] = ...,
    progress: Callable[[int], None] | None = ...,
    *,
    fork: bool = ...,
) -> Generator[ResultT, None, None]: ...


@overload
def map_ordered(
    work: Callable[[StateT, ChunkT], ResultT],
    chunks: Iterable[ChunkT],
    engine: Engine = ...,
    name: Callable[[ChunkT], str] = ...,
    progress: Callable[[int], None] | None = ...,
    *,
    set_up: Callable[[], StateT],
) -> Generator[ResultT, None, None]: ...


def map_ordered(
    work: Callable[..., Any],
    chunks: Iterable[ChunkT],
    engine: Engine = ALL_CORES,
    name: Callable[[ChunkT], str] = str,
    progress: Callable[[int], None] | None = None,
    *,
    set_up: Callable[[], Any] | None = None,
    fork: bool = False,
) -> Generator[Any, None, None]:
    """``work(chunk)`` for every chunk, in the order of the chunks.

    Chunks are taken from the iterable as they are needed. When the caller stops reading, or on Ctrl-C, what is on its
    way is abandoned and the workers end.

    Args:
        work: can be pickled.
        name: what errors call a chunk.
        progress: told the number of chunks that are done, whenever it grows.
        set_up: can be pickled; called once in every worker before its first chunk; then it is ``work(made, chunk)``.
            For what is dear to make: a model.
        fork: where that is safe, processes of the pool are forks of this one and have what it has read; ``work`` need
            not be pickled then. Not for a program that runs threads or holds a GPU.

    Raises:
        ChunkError: ``work`` or ``set_up`` refused on purpose (``MM15Error``) or met an ``OSError``, or a worker died;
            names the chunk.
        WorkError: they raised anything else.
        MissingExtra: engine ``ray`` without the package.
        ConfigError: no Ray cluster at the address.
    """
    with engine.connected():
        crew = _crew(Job(work, set_up), engine, fork)
        finished = False
        try:
            yield from _in_order(crew, iter(chunks), name, progress)
            finished = True
        finally:
            crew.close(finished)


class _Crew(Protocol):
    workers: int

    def submit(self, number: int, chunk: Any) -> None: ...

    def next(self) -> tuple[int, Any]:
        """A finished chunk and its result or failure; waits for one."""
        ...

    def close(self, finished: bool) -> None: ...


def _crew(job: Job, engine: Engine, fork: bool) -> _Crew:
    if engine.kind == "ray":
        ray, pickled = _cluster.import_ray(), pickle.dumps(job)
        return (_cluster.Actors if job.set_up else _cluster.Tasks)(ray, pickled, engine.workers)
    if engine.here:
        return _Here(job)
    context = FORKS if fork else PROCESSES
    inherited = context.get_start_method() == "fork"
    return _Pool(job if inherited else pickle.dumps(job), engine.processes, context)


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
        except Died as died:
            # Chunks are worked on in the order they were given.
            suspects = [name(chunk) for _, chunk in sorted(on_way.items())[: crew.workers]]
            told = f"a worker process died ({died}); it worked on one of: {'; '.join(suspects)}"
            raise ChunkError(f"{told}. Was it killed, or is the memory too small for so many workers?") from died
        chunk = on_way.pop(number)
        if isinstance(result, Failure):
            raise _error(result, name(chunk))
        waiting[number] = result
        done += 1
        if progress:
            progress(done)
        while given in waiting:
            yield waiting.pop(given)
            given += 1


def _error(failure: Failure, chunk: str) -> Exception:
    told = f"a worker cannot start: {failure.reason}" if failure.starting else f"{chunk}: {failure.reason}"
    return (WorkError if failure.bug else ChunkError)(f"{told}\n{failure.trace}".rstrip())


class _Here:
    """This process."""

    workers = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._given: list[tuple[int, Any]] = []

    def submit(self, number: int, chunk: Any) -> None:
        self._given.append((number, chunk))

    def next(self) -> tuple[int, Any]:
        number, chunk = self._given.pop(0)
        return number, self._job.do(chunk)

    def close(self, finished: bool) -> None:
        self._given.clear()


class _Pool:
    """Processes of this machine."""

    def __init__(self, job: bytes | Job, workers: int, context: BaseContext) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, context, start_process, (job,))
        self._number_of: dict[Future[bytes], int] = {}
        self._finished: list[Future[bytes]] = []

    def submit(self, number: int, chunk: Any) -> None:
        try:
            self._number_of[self._pool.submit(work_here, pickle.dumps(chunk))] = number
        except BrokenProcessPool as error:
            raise Died(str(error)) from error

    def next(self) -> tuple[int, Any]:
        if not self._finished:
            self._finished = list(wait(self._number_of, return_when=FIRST_COMPLETED).done)
        future = self._finished.pop()
        number = self._number_of.pop(future)
        try:
            return number, pickle.loads(future.result())
        except BrokenProcessPool as error:
            raise Died(str(error)) from error

    def close(self, finished: bool) -> None:
        # Public as terminate_workers() from Python 3.14; a chunk that nobody waits for may still take minutes.
        processes = [] if finished else list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=finished, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
