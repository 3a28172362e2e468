"""Ranks: which one this is, how several are started on one machine, and what they must agree on.

Distribution rides on ``torch.distributed``. Under ``torchrun`` the ranks are there already; ``local_ranks`` makes some on
one machine, for processors where two processes of one thread each are faster than one process of two threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from mm15.base.errors import MM15Error

STOP_SECONDS = 20.0
"""How long a rank that has nothing left to do may take to end."""


def has_ranks() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def place() -> tuple[int, int]:
    """(rank, world): (0, 1) where this process is alone."""
    return (dist.get_rank(), dist.get_world_size()) if has_ranks() else (0, 1)


_meshes: list[DeviceMesh] = []
"""The mesh of this process, if its ranks do not all take other packs; process groups are one per process too."""


def lay_out(mesh: DeviceMesh | None) -> None:
    """Tell how the ranks are laid out: those along the mesh's axis ``tensor`` work on the same packs."""
    _meshes[:] = [] if mesh is None else [mesh]


def layout() -> DeviceMesh | None:
    """The mesh that was laid out last, while there are ranks."""
    return _meshes[0] if _meshes and has_ranks() else None


def joined(mesh: DeviceMesh, name: Literal["data", "within"]) -> DeviceMesh:
    """Axes as one: ``data`` is all but ``tensor``, ``within`` those inside one replica of ordinary parameters."""
    axes = ("replicas", "shards", "experts") if name == "data" else ("shards", "experts")
    return mesh[axes]._flatten(name)  # made once, found again later


def data_mesh() -> DeviceMesh | None:
    """The ranks that take other packs than this one, and itself; None where those are all ranks."""
    mesh = layout()
    return joined(mesh, "data") if mesh is not None and mesh["tensor"].size() > 1 else None


def data_group() -> dist.ProcessGroup | None:
    """The group over which a step is summed; None is the group of all ranks."""
    mesh = data_mesh()
    return None if mesh is None else mesh.get_group()


def data_place() -> tuple[int, int]:
    """(number, count) among the ranks that take different packs: which packs of a step are this rank's."""
    mesh = data_mesh()
    return place() if mesh is None else (mesh.get_local_rank(), mesh.size())


def rank_device() -> torch.device:
    """Where this rank computes: the GPU with its local number, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


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
    """Inside, this process is one of those that ``torchrun`` or ``srun`` started; else it stays alone.

    With a GPU per rank tensors on GPUs travel by NCCL, those on the CPU by gloo.
    """
    take_from_slurm(os.environ)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or has_ranks():
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank_device())
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend)
    try:
        yield
    finally:
        lay_out(None)
        dist.destroy_process_group()


def take_from_slurm(environment: MutableMapping[str, str]) -> None:
    """Under ``srun`` without torchrun: rank, world and meeting point from what SLURM tells every task.

    Nothing changes where torchrun has set them, or where a step has one task.

    Raises:
        MM15Error: there are several tasks and nothing says where they meet.
    """
    tasks = int(environment.get("SLURM_NTASKS", "1"))
    if "RANK" in environment or "SLURM_PROCID" not in environment or tasks < 2:
        return
    host = environment.get("MASTER_ADDR") or environment.get("SLURM_LAUNCH_NODE_IPADDR")
    if not host:
        raise MM15Error(
            f"{tasks} SLURM tasks, but neither MASTER_ADDR nor SLURM_LAUNCH_NODE_IPADDR says where they meet: export "
            "MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1) in the job script"
        )
    # Jobs that share a node must not meet at one port.
    port = 20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000
    environment.setdefault("MASTER_ADDR", host)
    environment.setdefault("MASTER_PORT", str(port))
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["LOCAL_RANK"] = environment.get("SLURM_LOCALID", "0")
    environment["WORLD_SIZE"] = str(tasks)


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
            lay_out(None)
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
