"""One allocator setting for training on CPUs."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep what a training step frees, instead of handing it back and faulting it in again.

    Every step allocates the same megabytes of activations; without this a step of the miniature takes 1.15 times as
    long (2 cores). Peak memory stays what it was.

    Returns:
        Whether it was set: on Linux with glibc only, elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    settings = ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
