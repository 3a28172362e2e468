"""Work for ``dist.map`` that other processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mm15.base.errors import DataError


def double(number: int) -> int:
    """Later chunks are done first."""
    time.sleep(0.02 * (number == 0))
    return 2 * number


def fail(number: int) -> int:
    """Chunk 3 cannot be done."""
    if number == 3:
        raise ValueError("no three today")
    return number


def refuse(number: int) -> int:
    """Chunk 3 is refused on purpose."""
    if number == 3:
        raise DataError("row 3 of this file is not a row")
    return number


def die(number: int) -> int:
    """Chunk 3 takes its process with it."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def unsendable(number: int) -> object:
    """A result that cannot be pickled."""
    return (lambda: number) if number == 3 else number


def sleep(folder: str, number: int) -> int:
    """Note the process, then take very long."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
    return number


def ready() -> list[int]:
    """What a worker makes ready: a list that notes its process and what it was given."""
    return [os.getpid()]


def append(made: list[int], number: int) -> tuple[int, list[int]]:
    """Notes the number in what was made ready, and gives the process and all numbers that it got so far."""
    made.append(number)
    time.sleep(0.01)
    return made[0], made[1:]


def no_model() -> list[int]:
    """Cannot be made ready."""
    raise DataError("no such model")


def broken() -> list[int]:
    """A mistake in what makes ready."""
    return [][1]


def folder(number: int) -> str:
    """Where relative paths start from."""
    return os.getcwd()


def alone(folder: str, number: int) -> int:
    """Fails where two work at a time."""
    Path(folder, "working").touch(exist_ok=False)
    time.sleep(0.02)
    Path(folder, "working").unlink()
    return number


def full_disk(number: int) -> int:
    """What the operating system refuses."""
    raise OSError(28, "No space left on device")


def process(number: int) -> int:
    """Which process did it."""
    time.sleep(0.01)
    return os.getpid()
