"""What a worker does, in this process, in another one, or on a cluster: make ready once, then chunk after chunk.

Chunks, results and failures travel as pickles that are made here, so that what cannot travel is told like any other
failure, and alike by all engines.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mm15.base.errors import MM15Error


@dataclass(frozen=True, slots=True)
class Failure:
    """What a worker raised, as text: exceptions do not all survive pickling.

    Args:
        bug: neither mm15 nor the operating system raised it on purpose; then there is a ``trace``.
        starting: it was raised while the worker made itself ready.
    """

    reason: str
    trace: str = ""
    bug: bool = False
    starting: bool = False


class Died(Exception):
    """A worker process is gone without a word."""


@dataclass(slots=True)
class Job:
    """The work, and what it needs first; can be pickled before it was used, if both can.

    Args:
        work: of a chunk; with ``set_up`` of what that made and a chunk.
        set_up: called once, before the first chunk.
    """

    work: Callable[..., Any]
    set_up: Callable[[], Any] | None = None
    _ready: tuple[Any, ...] | None = None

    def do(self, chunk: Any) -> Any:
        """The result, or a ``Failure``."""
        # Whatever is raised goes to the caller, who raises it there: as a sentence what was raised on purpose, with its
        # traceback and as an error of its own kind (``WorkError``) everything else. Nothing is swallowed.
        try:
            if self._ready is None:
                self._ready = (self.set_up(),) if self.set_up else ()
        except Exception as error:
            return _failure(error, starting=True)
        try:
            return self.work(*self._ready, chunk)
        except Exception as error:
            return _failure(error)

    def do_pickled(self, chunk: bytes) -> bytes:
        """The same for a pickled chunk; a result that cannot be pickled is a failure."""
        result = self.do(pickle.loads(chunk))
        try:
            return pickle.dumps(result)
        except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
            return pickle.dumps(_failure(error))


def _failure(error: Exception, starting: bool = False) -> Failure:
    if isinstance(error, MM15Error):
        return Failure(str(error), starting=starting)
    bug = not isinstance(error, OSError)  # A full disk, say, is none.
    return Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), bug, starting)


_kept: list[Any] = [b"", None]
"""In a worker process: the job, pickled and ready. Opened files stay open from one chunk to the next."""


def start_process(job: bytes | Job) -> None:
    """Make this process a worker of a pool. A forked one needs no pickle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one decides.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _kept[:] = [job, None] if isinstance(job, bytes) else [b"", job]


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for its next chunk for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def work_here(chunk: bytes) -> bytes:
    """A chunk in a process of a pool."""
    if _kept[1] is None:
        try:
            _kept[1] = pickle.loads(_kept[0])
        except Exception as error:  # Told to the caller like what the work raises, and no less loudly.
            return pickle.dumps(_failure(error, starting=True))
    return _kept[1].do_pickled(chunk)


def work_anywhere(job: bytes, folder: str, chunk: bytes) -> bytes:
    """A chunk in a process of a cluster, which may have worked for another map before.

    Args:
        folder: that relative paths start from. On a node that lacks it they lead nowhere, which the work says.
    """
    if _kept[0] != job:
        _kept[:] = [job, None]
        with contextlib.suppress(OSError):
            os.chdir(folder)
    return work_here(chunk)


class Actor:
    """A process of a cluster that belongs to one map, for jobs that make much ready first."""

    def __init__(self, job: bytes, folder: str) -> None:
        self._job, self._folder = job, folder

    def ready(self) -> None:
        """Answers as soon as the process runs."""

    def work(self, chunk: bytes) -> bytes:
        """A chunk."""
        return work_anywhere(self._job, self._folder, chunk)
