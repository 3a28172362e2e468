"""Ranks: which one this is, how several are started on one machine, and what they must agree on.

Distribution rides on ``torch.distributed``. Under ``torchrun`` the ranks are there already; ``local_ranks`` makes some on
one machine, for processors where two processes of one thread each are faster than one process of two threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mm15.base.errors import MM15Error

STOP_SECONDS = 20.0
"""How long a rank that has nothing left to do may take to end."""


def has_ranks() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def place() -> tuple[int, int]:
    """(rank, world): (0, 1) where this process is alone."""
    return (dist.get_rank(), dist.get_world_size()) if has_ranks() else (0, 1)


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return place()[0] == 0


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; every rank must ask."""
    if not has_ranks():
        return flag
    told = torch.tensor(float(flag))
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def meet() -> None:
    """Wait until every rank is here; alone there is nobody to wait for."""
    if has_ranks():
        dist.barrier()


@contextmanager
def torchrun_ranks() -> Iterator[None]:
    """Inside, this process is one of those that ``torchrun`` started; without torchrun it stays alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or has_ranks():
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def local_ranks(count: int, context: BaseContext, work: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Inside, this process is rank 0 of ``count`` on this machine, with one thread each; the others call ``work``.

    Rank 0 must make the same collective calls as ``work`` makes. A rank that ends early ends all of them.

    Args:
        context: how processes are started.
        work: picklable; called as ``work(*arguments)`` on ranks 1 and up.

    Raises:
        MM15Error: another rank failed, with what it said.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        others = [
            context.Process(  # type: ignore[attr-defined]
                target=_rank, args=(rank, count, Path(folder), work, arguments), name=f"rank {rank}", daemon=True
            )
            for rank in range(1, count)
        ]
        for process in others:
            process.start()
        try:
            torch.set_num_threads(1)
            _join(Path(folder), 0, count)
            yield
        except RuntimeError as error:
            # What torch raises when the other end of a collective call is gone.
            _end(others)
            failed = [process for process in others if process.exitcode]
            if not failed:
                raise
            told = [_said(Path(folder), process) for process in failed]
            raise MM15Error("; ".join(told)) from error
        finally:
            torch.set_num_threads(threads)
            if has_ranks():
                dist.destroy_process_group()
            _end(others)


def _said(folder: Path, process: BaseProcess) -> str:
    said = folder / f"{process.name} failed"
    reason = said.read_text(encoding="utf-8") if said.is_file() else "ended without a word, mostly for lack of memory"
    return f"{process.name} (exit code {process.exitcode}): {reason}"


def _join(folder: Path, rank: int, count: int) -> None:
    # Loopback: ranks of one machine need neither a network nor a host name that resolves.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=count)


def _rank(rank: int, count: int, folder: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        _join(folder, rank, count)
        work(*arguments)
        dist.destroy_process_group()
    except MM15Error as error:
        (folder / f"rank {rank} failed").write_text(str(error), encoding="utf-8")
        sys.exit(1)
    except RuntimeError as error:
        if "Connection closed" not in str(error) and "reset by peer" not in str(error):
            raise
        sys.exit(1)  # Rank 0 is gone and has said why.


def _end(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
