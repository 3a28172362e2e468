"""Workers on a Ray cluster: tasks, or actors where each worker makes something ready first."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from mm15.base.errors import ConfigError, MissingExtra
from mm15.dist._worker import Actor, Died, Failure, work_anywhere

CONNECT_SECONDS = 10.0
STORE_BYTES = 256 << 20
"""Shared memory of a Ray that is started for one map; what travels is small."""
RETRIES = 3
"""How often a chunk is tried again elsewhere when its node or process is lost."""
AT_ACTOR = 2
"""Chunks that lie with an actor: the one it works on, and the next."""


@contextlib.contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """The package ``ray``, connected. A connection that is there is used, and stays; one made here ends here.

    Args:
        address: empty: ``RAY_ADDRESS``, else a Ray on this machine that ends here.
        workers: CPUs of such a Ray; 0: all.

    Raises:
        MissingExtra: without the package.
        ConfigError: no Ray cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    _start(ray, address or os.environ.get("RAY_ADDRESS") or "local", workers)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, address: str, workers: int) -> None:
    told: dict[str, Any] = {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing here speaks to the network unasked.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == "local":
        # As multiprocessing does: workers find the modules that this process finds.
        paths = os.pathsep.join(path for path in sys.path if path)
        told = {
            "num_cpus": workers or os.cpu_count(),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
        }
    try:
        _check_answer(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **told)
    except (OSError, ValueError, RuntimeError) as error:
        # What ray.init raises where nobody answers; its own text and traceback are kept as the cause.
        raise ConfigError([f"no Ray cluster answers at '{address}': {error}"], "engine") from error


def _check_answer(address: str) -> None:
    """Raises ``OSError`` where nobody listens at ``host:port``; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def import_ray() -> Any:
    """The package. Raises ``MissingExtra`` without it."""
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "engine 'ray'") from None
    return ray


class Tasks:
    """Any process of the cluster takes any chunk; so many at a time, or as many as there are CPUs."""

    def __init__(self, ray: Any, job: bytes, workers: int) -> None:
        self._ray = ray
        cpus = max(1, sum(_cpus_of_nodes(ray)))
        self.workers = workers or cpus
        self._limited = self.workers < cpus
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._job = ray.put(job)
        self._task = ray.remote(max_retries=RETRIES)(work_anywhere)
        self._number_of: dict[Any, int] = {}

    def submit(self, number: int, chunk: Any) -> None:
        """Send a chunk away, as soon as it may be worked on."""
        self._waiting.append((number, pickle.dumps(chunk)))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and not (self._limited and len(self._number_of) >= self.workers):
            number, chunk = self._waiting.popleft()
            self._number_of[self._task.remote(self._job, os.getcwd(), chunk)] = number

    def next(self) -> tuple[int, Any]:
        """A finished chunk and its result or failure; waits for one."""
        (task,), _ = self._ray.wait(list(self._number_of), num_returns=1)
        number = self._number_of.pop(task)
        self._hand_out()
        return number, _result(self._ray, task)

    def close(self, finished: bool) -> None:
        """Abandon what is on its way."""
        for task in self._number_of:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)


class Actors:
    """So many processes of the cluster, each with an equal share of a node's CPUs, until the map ends.

    Chunks go to actors that run: where fewer fit the cluster than were asked for, these do the work.
    """

    def __init__(self, ray: Any, job: bytes, workers: int) -> None:
        self._ray = ray
        nodes = _cpus_of_nodes(ray)
        self.workers = workers or max(1, sum(nodes))
        told = {"num_cpus": share(nodes, self.workers), "max_restarts": RETRIES, "max_task_retries": RETRIES}
        make = ray.remote(**told)(Actor)
        kept = ray.put(job)
        self._actors = [make.remote(kept, os.getcwd()) for _ in range(self.workers)]
        self._starting = {actor.ready.remote(): actor for actor in self._actors}
        self._free: deque[Any] = deque()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._busy: dict[Any, tuple[int, Any]] = {}

    def submit(self, number: int, chunk: Any) -> None:
        """Send a chunk away as soon as an actor is free."""
        self._waiting.append((number, pickle.dumps(chunk)))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            actor, (number, chunk) = self._free.popleft(), self._waiting.popleft()
            self._busy[actor.work.remote(chunk)] = number, actor

    def next(self) -> tuple[int, Any]:
        """A finished chunk and its result or failure; waits for one."""
        while True:
            (answer,), _ = self._ray.wait([*self._busy, *self._starting], num_returns=1)
            if answer in self._busy:
                number, actor = self._busy.pop(answer)
                self._free.append(actor)
                self._hand_out()
                return number, _result(self._ray, answer)
            actor = self._starting.pop(answer)
            started = _result(self._ray, answer)
            if isinstance(started, Failure):
                raise Died(started.reason)
            self._free.extend([actor] * AT_ACTOR)
            self._hand_out()

    def close(self, finished: bool) -> None:
        """End the actors."""
        for answer in self._busy:
            self._ray.cancel(answer)
        for actor in self._actors:
            self._ray.kill(actor)


def _result(ray: Any, answer: Any) -> Any:
    try:
        got = ray.get(answer)
    except ray.exceptions.RayTaskError:
        raise  # The job tells what its work raises; this is a fault of ours, or another mm15 on that node.
    except ray.exceptions.RayError as error:
        return Failure(f"Ray lost it: {error}")
    return None if got is None else pickle.loads(got)


def _cpus_of_nodes(ray: Any) -> list[int]:
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def share(nodes: Sequence[int], workers: int) -> int:
    """The most CPUs that each of so many workers can have on nodes of so many; 1 where not all of them fit."""
    fitting = (each for each in range(max(nodes, default=1), 1, -1) if sum(node // each for node in nodes) >= workers)
    return next(fitting, 1)
