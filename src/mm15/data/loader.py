"""From the plan to packed batches: read, encode and pack, here or in worker processes, always in the same order.

A row that turns out to be unreadable is left out of its pack, counted against its source's budget and named; no
neighbour takes its place. The state is the next global pack number and the plan's hash.

Workers are processes and not threads: what they do in Python would hold up the Python of the trainer, and a decoder
that crashes or takes all memory ends a worker, by name, and not the trainer.
"""

from __future__ import annotations

import faulthandler
import io
import itertools
import os
import pickle
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch
from torch import Tensor

from mm15.base.batch import IGNORE, EncodedSample, PackedBatch, pack
from mm15.base.errors import MM15Error, SkipSample
from mm15.data.planner import Address, Planner
from mm15.data.source import Skip, Source, check_skip_rate
from mm15.dist.map import PROCESSES
from mm15.processor import Processor

PROCESSES.set_forkserver_preload(["mm15.data.loader"])

SKIPS_FORGIVEN = 10
"""Skips per source before its rate counts: one bad row among the first five is not 20 %."""

STACK_SIGNAL = signal.SIGUSR1

ReadPack = tuple[PackedBatch, list[tuple[int, Skip]]]
"""The batch, and what was skipped as (source number, skip)."""


class Loader:
    """Endless iterator over ``(global pack number, PackedBatch)`` for one rank.

    Args:
        planner: which rows share a pack.
        sources: in the order in which the plan was built.
        processor: encodes the samples.
        rank: takes packs rank, rank + world, …; state and order are those of all ranks together.
        workers: processes that read ahead; 0 reads here, when asked.
        prefetch: packs that each worker is ahead.
        timeout_s: a worker that is silent for so long is given up; what it was doing is told.
        cache_mb: MiB of encoded samples to keep in all, for sources small enough to be read again and again.

    Raises (while iterating):
        SkipBudgetExceeded: too many rows of a source could not be read.
        MM15Error: a worker died or is stuck; names it and the pack.
    """

    def __init__(
        self,
        planner: Planner,
        sources: Sequence[Source],
        processor: Processor,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prefetch: int = 2,
        timeout_s: float = 60,
        cache_mb: int = 0,
    ) -> None:
        self.planner = planner
        self.sources = list(sources)
        self.processor = processor
        self.rank = rank
        self.world = world
        self.data_wait = 0.0
        """Seconds that the last batch was waited for."""
        self.drawn: Counter[str] = Counter()
        self.skips: defaultdict[str, list[Skip]] = defaultdict(list)
        self._next = 0
        self._cache = SampleCache(cache_mb)
        self._workers = Workers(workers, prefetch, timeout_s, self.sources, processor, cache_mb) if workers else None

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> tuple[int, PackedBatch]:
        began = time.perf_counter()
        number = self._next + self.rank
        if self._workers:
            batch, skips = self._workers.read(number, self.world, self.planner)
        else:
            batch, skips = read_pack(self.planner.pack(number), self.sources, self.processor, self._cache)
        self._account(batch, skips)
        self._next += self.world
        self.data_wait = time.perf_counter() - began
        return number, batch

    def state(self) -> dict[str, Any]:
        """What to save so that ``restore`` goes on after the batches that every rank has taken so far."""
        return self.planner.state(self._next)

    def restore(self, state: Mapping[str, Any], accept_plan: bool = False) -> None:
        """Go on from a saved state; the number of ranks and workers may be another one. Before the first batch only.

        Raises:
            PlanMismatch: saved under another plan, unless ``accept_plan``.
            ValueError: a batch was already taken.
        """
        if self.drawn:
            raise ValueError("restore comes before the first batch: make a new Loader")
        self._next = self.planner.restore(state, accept_plan)

    def close(self) -> None:
        """End the workers."""
        if self._workers:
            self._workers.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _account(self, batch: PackedBatch, skips: Sequence[tuple[int, Skip]]) -> None:
        self.drawn.update(name for name in batch.sources if name)
        for source, skip in skips:
            config = self.sources[source].config
            self.drawn[config.name] += 1
            self.skips[config.name].append(skip)
            allowed = max(SKIPS_FORGIVEN, config.max_skip_rate * self.drawn[config.name])
            check_skip_rate(config, self.skips[config.name], self.drawn[config.name], allowed)


class SampleCache:
    """Encoded samples by address, until ``mebibytes`` are full; encoding is pure, so a kept sample is the sample."""

    def __init__(self, mebibytes: int) -> None:
        self._left = mebibytes << 20
        self._kept: dict[Address, EncodedSample] = {}

    def encode(self, address: Address, source: Source, processor: Processor) -> EncodedSample:
        """The sample at an address, read only if it is not kept. Raises what reading and encoding raise."""
        kept = self._kept.get(address)
        if kept is not None:
            return kept
        sample = processor.encode(source.sample(address[1]))
        size = sum(tensor.nbytes for tensor in (sample.tokens_T, sample.labels_T, sample.tiles_NCHW))
        if size <= self._left:
            self._left -= size
            self._kept[address] = sample
        return sample


def read_pack(
    addresses: Sequence[Address], sources: Sequence[Source], processor: Processor, cache: SampleCache
) -> ReadPack:
    """Read, encode and pack some rows. Rows that cannot be used are left out and returned.

    Where nothing is left the batch is one untrained token, so that all ranks still take the same number of steps.
    """
    samples, skips = [], []
    for index, row in addresses:
        source = sources[index]
        try:
            samples.append(cache.encode((index, row), source, processor))
        except SkipSample as skip:
            skips.append((index, Skip(row, source.address(row), skip.reason)))
    if not samples:
        tile = processor.config.split.tile
        samples = [
            EncodedSample(
                tokens_T=torch.tensor([min(processor.stop_tokens)]),
                labels_T=torch.tensor([IGNORE]),
                tiles_NCHW=torch.zeros(0, 3, tile, tile, dtype=torch.uint8),
                key="nothing left",
                source="",
                category="",
            )
        ]
    return pack(samples, processor.image_token, processor.tokens_per_tile), skips


class Workers:
    """Processes that read packs ahead, each through its own pipe; pack i of the stream comes from worker i mod count.

    They leave Ctrl-C to the trainer, end when their pipe does (however the trainer went), and are daemons. What a
    worker raises it prints itself; the trainer hears that it died. A thread drains the pipes while the trainer works.
    """

    def __init__(
        self,
        count: int,
        prefetch: int,
        timeout_s: float,
        sources: Sequence[Source],
        processor: Processor,
        cache_mb: int,
    ) -> None:
        self._ahead = count * prefetch
        self._timeout_s = timeout_s
        self._asked: deque[int] = deque()
        self._turn = 0
        self._arrived: SimpleQueue[ReadPack | None] = SimpleQueue()
        self._pipes: list[Connection] = []
        self._processes = []
        self._stacks = tempfile.TemporaryDirectory(prefix="mm15-stacks-")
        for index in range(count):
            ours, theirs = PROCESSES.Pipe()
            stack = f"{self._stacks.name}/{index}"
            process = PROCESSES.Process(
                target=_serve,
                args=(theirs, sources, processor, cache_mb // count, stack),
                name=f"loader worker {index}",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._drain_thread = threading.Thread(target=self._drain, name="loader pipes", daemon=True)
        self._drain_thread.start()

    def read(self, number: int, world: int, planner: Planner) -> ReadPack:
        """The pack ``number``; asks for those that follow it at distance ``world``."""
        while len(self._asked) < self._ahead:
            following = number + world * len(self._asked)
            pipe = self._pipes[(self._turn + len(self._asked)) % len(self._pipes)]
            with suppress(OSError):  # The worker is dead: said below, when its turn comes.
                pipe.send(planner.pack(following))
            self._asked.append(following)
        process = self._processes[self._turn % len(self._processes)]
        where = f"{process.name} (pid {process.pid}) of {len(self._processes)}, reading pack {number}"
        try:
            arrived = self._arrived.get(timeout=self._timeout_s)
        except Empty:
            raise MM15Error(
                f"{where}: no answer for {self._timeout_s:g} s. Is the storage stuck, or one picture very slow? "
                f"Its rows: {_named(planner, number)}\n{self._doing(self._turn % len(self._processes))}"
            ) from None
        if arrived is None:
            process.join(timeout=5)
            raise MM15Error(
                f"{where}: died with exit code {process.exitcode}. -9 means it was killed, mostly for lack of memory "
                f"(use fewer workers), -7 that a data file became shorter while it was read, or that its disk failed; "
                f"otherwise its own message stands above. Its rows: {_named(planner, number)}"
            )
        self._asked.popleft()
        self._turn += 1
        return arrived

    def close(self) -> None:
        """End the processes, stuck ones too."""
        for process in self._processes:
            process.kill()
            process.join()
        self._drain_thread.join()
        for pipe in self._pipes:
            pipe.close()
        self._stacks.cleanup()

    def _doing(self, index: int) -> str:
        """The stack of a worker, written by itself when asked, also from the midst of C code."""
        process, path = self._processes[index], Path(self._stacks.name, str(index))
        if process.pid and process.is_alive():
            os.kill(process.pid, STACK_SIGNAL)
        for _ in range(20):
            time.sleep(0.1)
            if path.is_file() and (stack := path.read_text(encoding="utf-8", errors="replace")):
                time.sleep(0.2)  # It may still be writing.
                stack = path.read_text(encoding="utf-8", errors="replace") or stack
                return f"What it is doing:\n{stack.rstrip()}"
        return "It does not even say what it is doing: it is stopped, or waits inside the kernel, mostly for a disk"

    def _drain(self) -> None:
        for pipe in itertools.cycle(self._pipes):
            try:
                self._arrived.put(pickle.loads(pipe.recv_bytes()))
            except (EOFError, OSError):
                self._arrived.put(None)
                return


def _named(planner: Planner, number: int) -> str:
    pools = planner.mixture.pools
    return ", ".join(f"{pools[source].name}/{row}" for source, row in planner.pack(number)[:8])


def _serve(pipe: Connection, sources: Sequence[Source], processor: Processor, cache_mb: int, stack: str) -> None:
    """A worker: addresses in, packs out, until the pipe ends. ``STACK_SIGNAL`` makes it write its stack to a file."""
    stacks = open(stack, "w", encoding="utf-8")  # noqa: SIM115  (open as long as the process)
    faulthandler.register(STACK_SIGNAL, stacks, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cache = SampleCache(cache_mb)
    while True:
        try:
            addresses = pipe.recv()
        except (EOFError, OSError):
            return
        answer = _to_bytes(read_pack(addresses, sources, processor, cache))
        try:
            pipe.send_bytes(answer)
        except OSError:
            return


class _Pickler(pickle.Pickler):
    """Tensors travel as arrays: torch's own way, through shared memory, ends where /dev/shm is small."""

    def reducer_override(self, obj: Any) -> Any:
        return (torch.from_numpy, (obj.numpy(),)) if isinstance(obj, Tensor) else NotImplemented


def _to_bytes(read: ReadPack) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(read)
    return buffer.getvalue()
