"""Saving beside the training: a copy is taken, a thread writes it, the loop goes on.

What a save costs the loop is the copy, and the wait for the save before if that is not done; both are counted
(``save_stall``). A save that fails is named at once and the run goes on; the next one is waited for, and if that fails
too the run stops. The last save of a run is tried twice. Whatever happens, earlier checkpoints stay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from mm15.base.errors import MM15Error
from mm15.dist.ranks import has_ranks, is_first, meet
from mm15.train import checkpoint
from mm15.train.optim import OptimizerSet

log = logging.getLogger(__name__)


class Saver:
    """Writes checkpoints of one run in a thread of its own, one at a time. Every rank has one and calls it alike.

    A context manager: leaving it waits for the save that is being written, unless a second signal ended the block.

    Args:
        root: the run's ``checkpoints`` folder.
        keep: how many are kept.
        before: called on this rank before a save; its ``OSError`` fails the save (``checkpoint.write``).

    Raises:
        MM15Error: nothing can be written to the folder; told before the first step instead of after hours.
    """

    def __init__(self, root: Path, keep: int, before: Callable[[], None] | None = None) -> None:
        self.root, self.keep, self.before = root, keep, before
        self.stall = 0.0
        """Seconds that the last call held up the loop."""
        self.failed: MM15Error | None = None
        """Why the last save could not be written."""
        self._thread: threading.Thread | None = None
        self._work: tuple[int, dict[str, Any], Mapping[str, Any]] | None = None
        checkpoint.check_writable(root)
        # A group of its own: the collective calls of a save must not mix with those of a step.
        self._group: Any = dist.new_group(backend="gloo") if has_ranks() else None
        meet()  # A rank with no step left to take would be gone while another still connects to it.

    def start(self, step: int, model: nn.Module, optimizer: OptimizerSet, loader: Mapping[str, Any]) -> None:
        """Copy everything and return; the writing goes on beside.

        Raises:
            MM15Error: this save and the one before it could not be written.
        """
        began = time.perf_counter()
        self._wait()
        tried_before = self.failed
        # BlockingAsyncStager copies tensors of any device, sharded ones too, to the CPU.
        staged = BlockingAsyncStager().stage(checkpoint.tensors_of(model, optimizer))
        self._work = (step, staged, dict(loader))
        self._thread = threading.Thread(target=self._write, name=f"checkpoint {step}", daemon=True)
        self._thread.start()
        if tried_before:
            self._wait()
            if self.failed:
                raise MM15Error(f"two saves in a row failed. {self.failed}") from self.failed
        self.stall = time.perf_counter() - began

    def finish(self) -> None:
        """Wait for the save that is being written; try once more if it failed.

        Raises:
            MM15Error: it failed again.
        """
        began = time.perf_counter()
        self._wait()
        if self.failed:
            self._write()
            if self.failed:
                raise self.failed
        self._work = None
        self.stall = time.perf_counter() - began

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            self._wait()

    def _wait(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        assert self._work
        step, tensors, loader = self._work
        try:
            checkpoint.write(self.root, step, tensors, loader, self.keep, self._group, self.before)
            self.failed = None
        except MM15Error as error:
            self.failed = error
        except RuntimeError as error:
            # What torch raises when another rank is gone: this process is about to end, too.
            self.failed = MM15Error(f"could not save the checkpoint of step {step}: another rank ended ({error})")
        if self.failed and is_first():
            log.warning("%s", self.failed)
